#!/usr/bin/env -S node --max-semi-space-size=4
// MiB. With Node's 16, what calls leave behind stays resident: 20 MiB of a daemon. With 1 it is kept for the great collections: 50 MiB more.
import "../bundle/main.js";
