"""Start a TPM in this process, send it TPM2_GetRandom, and print the octets that come back."""

import os

from vtpm import Instant, Tpm

tpm = Tpm.manufacture(os.urandom)
tpm.power_on(Instant(0))
tpm.execute(bytes.fromhex("8001 0000000c 00000144 0000"))
print(tpm.execute(bytes.fromhex("8001 0000000c 0000017b 0010")).response.hex())
