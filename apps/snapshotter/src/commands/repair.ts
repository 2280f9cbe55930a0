import { AppError, type Digest, parseDigest, sha256 } from "@soci-ts/core";
import { plainText, type Report, shortDigest, wrap } from "../output.ts";
