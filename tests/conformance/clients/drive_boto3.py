"""Reads and writes with boto3, as a program would: credentials come from the environment, and nothing else is set."""

import hashlib
import json
import sys
from pathlib import Path

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

job = json.loads(Path(sys.argv[1]).read_text())
bucket, drop = job["bucket"], job["drop"]
s3 = boto3.client("s3")
done = {}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def refusal(call):
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""


pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 1})
done["list"] = [line["Key"] for page in pages for line in page.get("Contents", [])]
done["list v1"] = [line["Key"] for line in s3.list_objects(Bucket=bucket)["Contents"]]
top = s3.list_objects_v2(Bucket=bucket, Delimiter="/")
done["prefixes"] = [line["Prefix"] for line in top["CommonPrefixes"]]
done["buckets"] = [line["Name"] for line in s3.list_buckets()["Buckets"]]
done["whole"] = sha256(s3.get_object(Bucket=bucket, Key=job["text"], ChecksumMode="ENABLED")["Body"].read())
span = f"bytes={job['start']}-{job['end'] - 1}"
done["range"] = sha256(s3.get_object(Bucket=bucket, Key=job["blob"], Range=span)["Body"].read())
parallel = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20, max_concurrency=4)
target = Path(job["scratch"]) / "boto3.bin"
s3.download_file(bucket, job["blob"], str(target), Config=parallel)
done["parallel"] = sha256(target.read_bytes())
s3.put_object(Bucket=bucket, Key=f"{drop}/small", Body=Path(job["small"]).read_bytes())
s3.upload_file(job["large"], bucket, f"{drop}/large", Config=parallel)
done["head"] = s3.head_object(Bucket=bucket, Key=f"{drop}/large")["ContentLength"]
done["own upload read"] = refusal(lambda: s3.get_object(Bucket=bucket, Key=f"{drop}/small"))
done["dataset write"] = refusal(lambda: s3.put_object(Bucket=bucket, Key=job["text"], Body=b"x"))
print(json.dumps(done))
