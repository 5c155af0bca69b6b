"""STS: session credentials for verified identities (AssumeRoleWithWebIdentity) and whose a session is (GetCallerIdentity).

Follows the AWS STS API reference (2011-06-15); docs/formats/sts.md lists what is taken, what is refused, and how.
"""
