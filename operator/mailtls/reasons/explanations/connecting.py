"""What the reasons of a probe mean: from connecting to TLS; what is served is explained beside it."""

from collections.abc import Mapping

from mailtls.reasons.reason import Explanation, Reason

CONNECTING: Mapping[Reason, Explanation] = {
    Reason.DNS_LOOKUP_FAILED: Explanation(
        "The name of the mail server could not be resolved.",
        "Check the DNS record or the Service that the name belongs to.",
        symptom="Mail bounces with «host not found», or mail programs cannot find the server.",
        mailbox_symptom="Mail programs and phones cannot find the server.",
        rfc="RFC 5321 section 5.1",
    ),
    Reason.CONNECTION_REFUSED: Explanation(
        "Nothing listens on that port, or a firewall answers in its place that the port is blocked.",
        "Check that the server runs, that the port is enabled and not bound to the loopback address alone; in a "
        "cluster, that the port under workloads[].ports is the container's and not the Service's.",
        symptom="Mail to you is delayed with «connection refused».",
        mailbox_symptom="Mail programs and phones say at once that they cannot connect to the server.",
        rfc="RFC 5321 section 4.5.4.1",
    ),
    Reason.CONNECT_TIMEOUT: Explanation(
        "The port did not answer at all: it is blocked, and something drops the packets.",
        "Open the port in firewalls and in your provider's filter (many block port 25), and in a cluster let the "
        "NetworkPolicies allow the operator's pods to reach the mail pods.",
        symptom="Mail to you is delayed with «connection timed out».",
        mailbox_symptom="Mail programs and phones wait for a long time and then say that the server does not respond.",
        rfc="RFC 5321 section 4.5.3.2",
    ),
    Reason.NETWORK_UNREACHABLE: Explanation(
        "There is no route to the server's address, or a firewall answers that the port is blocked.",
        "Check firewalls and NetworkPolicies, the network between prober and server, and whether both route IPv4 and "
        "IPv6 if the server has both.",
        symptom="Mail from some senders is delayed, mostly from those who prefer the address family that fails.",
        mailbox_symptom="Mail programs connect slowly or not at all, in some networks and not in others.",
    ),
    Reason.PORT_BLOCKED: Explanation(
        "The address did not answer from outside, so nothing is known about what it serves. The filter may be on the "
        "prober's side or on the server's. This is a warning only.",
        "Run mailtls probe in another network, such as on a server that sends mail. If it answers there, let the "
        "prober out to that port, or (the operator) take Public out of spec.probe.from; else open the server's "
        "firewall. Many providers block outgoing port 25; many clusters have no IPv6.",
        symptom="None, if only the prober cannot get out; else mail to you is delayed with «connection timed out».",
        mailbox_symptom="None, if only the prober cannot get out; else mail programs and phones wait and give up.",
        rfc="RFC 5321 section 4.5.3.2",
    ),
    Reason.SERVICE_MISSING: Explanation(
        "spec.probe.from names Service, but no Service of the namespace leads to the workload.",
        "Make a Service whose selector fits the labels of the pod template, and whose targetPort is a port of "
        "workloads[].ports, by its number or by its name in the container's ports. Or take Service out of the list.",
        symptom="Other pods cannot reach the mail server by a name of the cluster.",
    ),
    Reason.ADDRESS_REFUSED: Explanation(
        "The public name, or that of the ACME server or of the DNS server that takes updates, leads to an address that "
        "the operator does not connect to when others name it: loopback, link-local (a cloud's metadata service), "
        "multicast, the Kubernetes API server, or a private network.",
        "Correct the A and AAAA records of spec.probe.public.host or of the server. Where the address is right, have "
        "the installation list its network in connections.allowedNetworks of the chart.",
        symptom="Senders on the internet cannot reach such an address.",
        rfc="RFC 6890",
    ),
    Reason.SUBMISSION_PORT_MISSING: Explanation(
        "The host takes mail from users on one of the ports 465 (implicit TLS) and 587 (STARTTLS), not on the other.",
        "Let the server listen on 465 and 587, both with TLS enforced, and open both in the firewall. Name the ports "
        "with --port to probe only those that you offer.",
        symptom="Mail programs that try only the missing port do not find the server, or are slow to set up.",
        rfc="RFC 8314 section 3.3",
    ),
    Reason.SERVER_BUSY: Explanation(
        "The server answered that it has no capacity at present (421), or tells strangers to come back later.",
        "Raise the server's limits of processes and connections, or exempt the prober's address from them.",
        symptom="Mail to you arrives late; senders see «421 too many connections».",
        mailbox_symptom="Mail programs cannot connect now and then, mostly at busy hours.",
        rfc="RFC 5321 section 3.8",
    ),
    Reason.PROBE_DENIED: Explanation(
        "The server refuses the prober (554): its address is blocked, mostly by a block list or access rules.",
        "Exempt the addresses of the operator's pods, or of the machine that probes, from these rules.",
        symptom="None, if only the prober is turned away; else mail from some senders bounces with a 5xx reply.",
        mailbox_symptom="None, if only the prober is turned away; else some users cannot connect.",
        rfc="RFC 5321 section 3.1",
    ),
    Reason.NO_BANNER: Explanation(
        "The port accepts connections but says nothing, or never finishes its greeting, and does not speak TLS either.",
        "Check that a mail server listens there and is not stuck. If the port waits for the PROXY protocol of a load "
        "balancer, send it: proxyProtocol: V2 of the port, or --proxy-protocol v2; a server takes it only from "
        "addresses that it trusts.",
        symptom="Mail is delayed with «timed out while receiving the initial server greeting».",
        mailbox_symptom="Mail programs and phones connect, wait, and then say that the server does not respond.",
        rfc="RFC 5321 section 4.5.3.2.1",
    ),
    Reason.PROTOCOL_ERROR: Explanation(
        "The server's answers do not follow the port's protocol.",
        "Check that the port is the mail server's and its protocol the one that is listed; the message shows what was "
        "answered.",
        symptom="Mail programs say that the server gave an unexpected answer.",
        rfc="RFC 5321 section 4.2",
    ),
    Reason.PROXY_HEADER_MISSING: Explanation(
        "The port answers only those who begin with a header of haproxy's PROXY protocol, by which a load balancer "
        "tells the client's address.",
        "If a load balancer in front sends the header, let the probe send it too: proxyProtocol: V2 of the port, or "
        "--proxy-protocol v2. If none does, turn it off in the server.",
        symptom="None where all clients come by the load balancer; else mail is delayed with a time-out.",
        mailbox_symptom="None where all clients come by the load balancer; else mail programs wait and give up.",
    ),
    Reason.GREETING_HELD_BACK: Explanation(
        "The server greets only after the client has sent something. In SMTP, IMAP, POP3 and ManageSieve the server "
        "speaks first, so both sides wait for each other: a service mesh or a proxy on the way detects the protocol by "
        "the client's first bytes.",
        "Let the mesh treat the port as plain TCP. Istio: appProtocol: tcp (or a port name that begins with tcp-) in "
        "the Service, mTLS mode STRICT or DISABLE for the port, or the pod annotation "
        "traffic.sidecar.istio.io/excludeInboundPorts. Linkerd: config.linkerd.io/opaque-ports or "
        "config.linkerd.io/skip-inbound-ports.",
        symptom="Mail is delayed with «timed out while receiving the initial server greeting».",
        mailbox_symptom="Mail programs and phones connect, wait, and then say that the server does not respond.",
        rfc="RFC 5321 section 3.1, RFC 9051 section 7.1",
    ),
    Reason.MESH_INTERFERES: Explanation(
        "A service mesh ends TLS at the port with a certificate of its own, which is for a workload (spiffe://) and "
        "not for a host name. Only the mesh's own sidecars accept that.",
        "Exclude the port from the mesh: traffic.sidecar.istio.io/excludeInboundPorts, or a PeerAuthentication with "
        "mode DISABLE for the port (Istio); config.linkerd.io/skip-inbound-ports (Linkerd).",
        symptom="Senders outside of the mesh delay mail or fall back to clear text.",
        mailbox_symptom="Mail programs say that the certificate is not trusted or that the server broke off.",
    ),
    Reason.CLIENT_NAME_REFUSED: Explanation(
        "The server refuses the name that the prober gives in EHLO or LHLO. Without a setting that is its address in "
        "brackets, which RFC 5321 allows, but some servers' rules do not.",
        "Set probe.clientName (or --client-name) to a host name that the server accepts: of the form mx1.example.com, "
        "and known to the DNS where the server checks that. Or exempt the prober from the rule.",
        symptom="None, if only the prober is turned away; else mail from some senders bounces.",
        mailbox_symptom="None, if only the prober is turned away; else some mail programs cannot send.",
        rfc="RFC 5321 section 4.1.4",
    ),
    Reason.XCLIENT_REFUSED: Explanation(
        "The probe has to claim a client's address (xclientAddress, --xclient), but the server does not accept it by "
        "XCLIENT.",
        "Let the server accept XCLIENT from the prober, or claim no address; where the message shows a refusal of the "
        "claimed address itself, the server's access rules turn that client away.",
        symptom="None, if only XCLIENT is refused; else the claimed client is turned away.",
    ),
}
STARTING_TLS: Mapping[Reason, Explanation] = {
    Reason.IMAP_PREAUTH_BLOCKS_STARTTLS: Explanation(
        "The IMAP server greets as if the client had logged in (PREAUTH), and after a login no client may start TLS.",
        "Let the server require a login on this port; a pre-authenticated service belongs on a local socket. If the "
        "server does not greet so by itself, look for a middlebox that does.",
        symptom="Mail programs that insist on TLS cannot connect; others send everything in plain text.",
        rfc="RFC 9051 sections 6.2.1 and 11.2",
    ),
    Reason.IMPLICIT_TLS_ON_STARTTLS_PORT: Explanation(
        "The port expects TLS from the first byte, but is listed with STARTTLS.",
        "If it is meant to (465, 993, 995), list it so: tlsMode: Implicit, or /implicit behind the port on the command "
        "line. Otherwise let it begin in clear text: 25, 587, 143 and 110 use STARTTLS.",
        symptom="Mail to you is delayed: senders see no greeting.",
        mailbox_symptom="Mail programs set to STARTTLS hang and time out.",
        rfc="RFC 8314 section 3, RFC 3207 section 2",
        tlsrpt="starttls-not-supported",
    ),
    Reason.PLAINTEXT_ON_IMPLICIT_TLS_PORT: Explanation(
        "The port greets in clear text, but is listed with implicit TLS.",
        "If it is meant to (25, 587, 143, 110), list it so: tlsMode: StartTLS, or /starttls behind the port on the "
        "command line. Otherwise let it begin with TLS: 465, 993 and 995 do.",
        symptom="Mail programs set to SSL/TLS say «wrong version number» or that the server does not support "
        "encryption.",
        rfc="RFC 8314 section 3",
    ),
    Reason.STARTTLS_NOT_ADVERTISED: Explanation(
        "TLS is not supported on this port: the server does not offer STARTTLS.",
        "Turn TLS on in the server and give it the certificate; if it is on, look for a firewall or proxy on the way "
        "that strips STARTTLS.",
        symptom="Gmail shows a red padlock to people who write to you; senders who insist on TLS bounce with «TLS not "
        "supported».",
        mailbox_symptom="Mail programs set to STARTTLS say that the server does not support it; others send the "
        "password in clear text.",
        rfc="RFC 3207 section 2",
        tlsrpt="starttls-not-supported",
    ),
    Reason.STARTTLS_MASKED: Explanation(
        "A device between client and server writes over what the server says, so that STARTTLS is not seen: XXXXXXXA "
        "in its place, or asterisks in the greeting. Cisco's inspection of SMTP (ASA, PIX) is known for it.",
        "Turn the inspection of SMTP off (no inspect esmtp; no fixup protocol smtp on a PIX), or let it pass TLS "
        "(allow-tls in the policy map).",
        symptom="Gmail shows a red padlock to people who write to you; senders who insist on TLS bounce.",
        mailbox_symptom="Mail programs set to STARTTLS say that the server does not support it.",
        rfc="RFC 3207 section 6",
        tlsrpt="starttls-not-supported",
    ),
    Reason.STARTTLS_UNAVAILABLE: Explanation(
        "STARTTLS is offered but fails for now (454): the server cannot load its certificate or key.",
        "Check path and permissions of the files and that they belong together; the server's log names them. In a pod, "
        "files of a Secret belong to root: where the server runs as another user, set securityContext.fsGroup to one "
        "of its groups and defaultMode of the volume to 0440.",
        symptom="Gmail shows a red padlock to people who write to you; mail from senders who insist on TLS is delayed "
        "with «454 TLS not available».",
        mailbox_symptom="Mail programs and phones set to STARTTLS cannot connect.",
        rfc="RFC 3207 section 4",
        tlsrpt="starttls-not-supported",
    ),
    Reason.STARTTLS_REJECTED: Explanation(
        "STARTTLS is offered but the server refuses the command for good (5xx).",
        "Check that TLS is on for this port and that no proxy answers in the server's place; the log says more.",
        symptom="Gmail shows a red padlock to people who write to you; senders who insist on TLS bounce.",
        mailbox_symptom="Mail programs and phones set to STARTTLS cannot connect.",
        rfc="RFC 3207 section 4",
        tlsrpt="starttls-not-supported",
    ),
    Reason.PLAINTEXT_AFTER_STARTTLS: Explanation(
        "The server sent clear text after it had agreed to start TLS; somebody may be tampering with the connection, "
        "or the server has a bug, or no TLS behind the offer.",
        "Look for a proxy or middlebox before the server, give the server a certificate, and update it.",
        symptom="Mail to you is delayed, as senders break off with a TLS error.",
        mailbox_symptom="Mail programs break off with a TLS error.",
        rfc="RFC 3207 section 6",
        tlsrpt="validation-failure",
    ),
    Reason.TLS_HANDSHAKE_FAILED: Explanation(
        "The TLS handshake failed; the message quotes OpenSSL.",
        "Read the server's log of that second; mostly the certificate files cannot be read, or cipher lists leave "
        "nothing in common. In a pod, see whether the server's user may read the Secret's files "
        "(securityContext.fsGroup, defaultMode).",
        symptom="Senders fall back to clear text or delay with «TLS handshake failed».",
        mailbox_symptom="Mail programs and phones say that no secure connection could be made.",
        rfc="RFC 8446 section 6.2",
        tlsrpt="validation-failure",
    ),
    Reason.NO_SHARED_TLS_VERSION: Explanation(
        "The server and today's clients share no TLS version.",
        "Allow TLS 1.2 and 1.3.",
        symptom="Mail from up-to-date senders arrives without TLS or not at all.",
        mailbox_symptom="Up-to-date mail programs and phones cannot connect, old ones can.",
        rfc="RFC 8996 section 4, RFC 9325 section 3.1.1",
        tlsrpt="validation-failure",
    ),
    Reason.CLIENT_HELLO_REFUSED: Explanation(
        "The first message of today's TLS clients (ClientHello) is not answered, while a shorter one of TLS 1.2 is. "
        "TLS 1.3 with ML-KEM, which OpenSSL, browsers and phones offer, makes it about 1,600 octets long: two packets.",
        "Update the firewall, load balancer or TLS library that reads it, or turn its TLS inspection off for the port.",
        symptom="Mail from some senders is delayed with TLS errors, from others it is not.",
        mailbox_symptom="Up-to-date mail programs and phones cannot connect, old ones can.",
        rfc="RFC 8446 section 5.1",
        tlsrpt="validation-failure",
    ),
    Reason.CLIENT_CERTIFICATE_REQUIRED: Explanation(
        "The server breaks off as the client has no certificate of its own. Mail servers and mail programs have none.",
        "Let the server request no client certificate on this port, or not require it. If it does not, a service mesh "
        "or a TLS proxy in front with mutual TLS may: exclude the port there.",
        symptom="Mail to you is delayed: senders connect, then are cut off.",
        mailbox_symptom="Mail programs connect and are cut off before the login.",
        rfc="RFC 8446 section 6.2",
        tlsrpt="validation-failure",
    ),
    Reason.EHLO_AFTER_TLS_FAILED: Explanation(
        "The server did not answer the first command inside TLS, such as EHLO.",
        "Read the server's log of that second: it may demand a client certificate, or have lost the server behind it.",
        symptom="Mail to you is delayed: senders connect, then hang or break off.",
        mailbox_symptom="Mail programs connect, then hang or break off before the login.",
        rfc="RFC 3207 section 4.2",
    ),
    Reason.STARTTLS_READVERTISED: Explanation(
        "The server offers STARTTLS again inside TLS, because it does not know of the proxy in front of it that ended "
        "TLS.",
        "Turn STARTTLS off for the service behind the proxy, where nobody but the proxy can reach it; else update the "
        "mail server.",
        symptom="Nobody notices, but some mail programs try to start TLS twice and fail.",
        rfc="RFC 3207 section 4.2",
    ),
}
