"""
Part 2 as data, without behavior: reading it beside the specification is enough to review it.

In the order of Part 2; what is left out of a clause, the docstring of its module says:

    constants       6, 7.2, 7.4, 13.2   TPM_ALG, TPM_CC, TPM_ST, TPM_RH ... (TPM_RC, 6.6: `vtpm.wire.error`)
    handles         7, 9.3 to 9.30      handle ranges, TPMI_DH_x, TPMI_SH_x, TPMI_RH_x
    attributes      8, 13.1, 13.4, 13.5 TPMA_OBJECT, TPMA_SESSION, TPMA_NV ...
    interface       9.2, 9.31 to 9.41   TPMI_ALG_x, key sizes and curves, the sets of algorithms
    structures      10                  digests, buffers, PCR selections, tickets, lists, attestation
    capability      10.8.14, 10.9       what GetCapability returns
    algorithms      11                  symmetric definitions, schemes, keys, signatures, secrets
    objects         12                  public, sensitive and private areas
    nv              13                  public areas of NV Indices
    context         14, 15              saved contexts, creation data
    limits          -                   the sizes and counts that Part 2 leaves to the implementation

A type of Part 2 is an annotation: the Python type for the reader, the construct for the wire.
`X_NULL` is what the specification writes as "X+": the type with its conditional value.
"""
