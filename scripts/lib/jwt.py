"""Prints a JSON Web Token, signed with a secret (HS256). Standard library only.

    jwt.py SECRET_FILE SUBJECT
"""

import base64
import hashlib
import hmac
import json
import sys


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def main():
    file, subject = sys.argv[1:]
    with open(file, "rb") as secret:
        key = secret.read()
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256"}, {"sub": subject})]
    signed = b".".join(encoded(part) for part in parts)
    print((signed + b"." + encoded(hmac.digest(key, signed, hashlib.sha256))).decode())


main()
