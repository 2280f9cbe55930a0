#!/usr/bin/env -S node --max-semi-space-size=2
// MiB. Buffers of the network lie outside of the heap, and wait for a young generation to fill up that holds next to nothing: with Node's 16 that is
// 11 MB more of them; with 1, proofs of layers with many files take a quarter longer.
import "../dist/main.js";
