#!/bin/bash
# Does with its certificate what docker-mailserver 15 does with SSL_TYPE=manual (seen in its scripts helpers/ssl.sh and
# check-for-changes.sh): copies at the start, checksums every two seconds, on a change another copy and reloads.
set -u
tls=/etc/dms/tls
mkdir -p "$tls"

copy() {
    cp "$SSL_KEY_PATH" "$tls/key"
    cp "$SSL_CERT_PATH" "$tls/cert"
    chmod 600 "$tls/key"
}

sums() { sha512sum "$SSL_CERT_PATH" "$SSL_KEY_PATH"; }

copy
known=$(sums)
postconf -e "smtpd_tls_chain_files = $tls/key $tls/cert" "myhostname = $TLS_NAME" "postscreen_greet_action = enforce"
# Port 25 is postscreen's, as there: strangers wait six seconds for the greeting, and tlsproxy speaks TLS.
postconf -M "smtp/inet=smtp inet n - n - 1 postscreen" "smtpd/pass=smtpd pass - - n - - smtpd" \
    "tlsproxy/unix=tlsproxy unix - - n - 0 tlsproxy" "dnsblog/unix=dnsblog unix - - n - 0 dnsblog"
(
    while sleep "${DMS_CONFIG_POLL:-2}"; do
        now=$(sums)
        if [ "$now" != "$known" ]; then
            copy
            postfix reload
            known=$now
        fi
    done
) &
exec postfix start-fg
