"""What a trace does not show unless it is asked to: what callers give a TPM to keep to itself."""

from vtpm.spec.constants import TPM_CC

SECRET_FIELDS: dict[str, frozenset[str]] = {
    "TPMS_SENSITIVE_CREATE": frozenset({"user_auth", "data"}),
    "TPMT_SENSITIVE": frozenset({"auth_value", "seed_value", "sensitive"}),
    "TPMS_NV_CERTIFY_INFO": frozenset({"nv_contents"}),
}
"""Fields of structures."""

SECRET_ARGUMENTS: dict[TPM_CC, frozenset[str]] = {
    # authValues
    TPM_CC.NV_DefineSpace: frozenset({"auth"}),
    TPM_CC.NV_DefineSpace2: frozenset({"auth"}),
    TPM_CC.NV_ChangeAuth: frozenset({"new_auth"}),
    TPM_CC.ObjectChangeAuth: frozenset({"new_auth"}),
    TPM_CC.HierarchyChangeAuth: frozenset({"new_auth"}),
    TPM_CC.PCR_SetAuthValue: frozenset({"auth"}),
    TPM_CC.HMAC_Start: frozenset({"auth"}),
    TPM_CC.HashSequenceStart: frozenset({"auth"}),
    # data that only an authorization gives out
    TPM_CC.Unseal: frozenset({"out_data"}),
    TPM_CC.NV_Read: frozenset({"data"}),
    TPM_CC.NV_Write: frozenset({"data"}),
    TPM_CC.NV_Extend: frozenset({"data"}),
    # keys, and what is encrypted with them
    TPM_CC.ActivateCredential: frozenset({"cert_info"}),
    TPM_CC.MakeCredential: frozenset({"credential"}),
    TPM_CC.Duplicate: frozenset({"encryption_key_in", "encryption_key_out"}),
    TPM_CC.Import: frozenset({"encryption_key"}),
    TPM_CC.RSA_Encrypt: frozenset({"message"}),
    TPM_CC.RSA_Decrypt: frozenset({"message"}),
    TPM_CC.ECC_Encrypt: frozenset({"plain_text"}),
    TPM_CC.ECC_Decrypt: frozenset({"plain_text"}),
    TPM_CC.ECDH_KeyGen: frozenset({"z_point"}),
    TPM_CC.ECDH_ZGen: frozenset({"out_point"}),
    TPM_CC.ZGen_2Phase: frozenset({"out_z1", "out_z2"}),
    TPM_CC.EncryptDecrypt: frozenset({"in_data", "out_data"}),
    TPM_CC.EncryptDecrypt2: frozenset({"in_data", "out_data"}),
    TPM_CC.HMAC: frozenset({"buffer"}),
    TPM_CC.Hash: frozenset({"data"}),
    TPM_CC.SequenceUpdate: frozenset({"buffer"}),
    TPM_CC.SequenceComplete: frozenset({"buffer"}),
    # what may have become a key
    TPM_CC.GetRandom: frozenset({"random_bytes"}),
    TPM_CC.StirRandom: frozenset({"in_data"}),
}
"""Parameters of commands and fields of responses."""


def is_secret(command: TPM_CC, argument: str) -> bool:
    """Is a parameter, or a field of the response, a secret?"""
    return argument in SECRET_ARGUMENTS.get(command, ())


def is_secret_field(structure: str, field: str) -> bool:
    """Is a field of a structure a secret?"""
    return field in SECRET_FIELDS.get(structure, ())
