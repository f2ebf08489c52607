"""What posttls-finger, testssl.sh and openssl say of the servers that the tests misconfigure on purpose."""
