"""What each request of the control channel does to a device, and what it is answered."""

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from nvstore import Locked, NvstoreError
from vtpm.control import messages
from vtpm.control.blobs import BlobError, BlobKeyError
from vtpm.control.messages import CMD, PTM_BLOB_TYPE, PTM_CAP, SUCCESS, TPM_RESULT, Malformed, Request, Result
from vtpm.control.transitions import is_legal, may_set_buffer_size
from vtpm.daemon.device.device import MAX_LOCALITY, MIN_BUFFER_SIZE, Device
from vtpm.daemon.errors import DeviceError
from vtpm.daemon.info import describe
from vtpm.wire.error import TPM_RC

log = logging.getLogger(__name__)

CAPABILITIES: Final = PTM_CAP(sum(bit.mask for bit in PTM_CAP.bits.values()))
"""All of them: every command of the channel is carried out."""

BAD_ORDINAL: Final = Result(TPM_RESULT.BAD_ORDINAL)
BAD_PARAMETER: Final = Result(TPM_RESULT.BAD_PARAMETER)
FAIL: Final = Result(TPM_RESULT.FAIL)
BAD_LOCALITY: Final = Result(TPM_RESULT.BAD_LOCALITY)
KEYNOTFOUND: Final = Result(TPM_RESULT.KEYNOTFOUND)
NOT_STARTED: Final = Result(TPM_RC.FAILURE)
"""What swtpm answers to an INIT that fails: the code of a TPM in failure mode."""

LOCK_INTERVAL: Final = 0.01
"""Seconds between two attempts of LOCK_STORAGE, as with swtpm."""

MAX_LOCK_RETRIES: Final = 1000

SLOW: Final = frozenset(
    {
        CMD.INIT,
        CMD.STOP,
        CMD.SHUTDOWN,
        CMD.HASH_END,
        CMD.STORE_VOLATILE,
        CMD.GET_STATEBLOB,
        CMD.LOCK_STORAGE,
    }
)
"""Commands that may wait for the store, or move much of the state."""


def answer(device: Device, request: Request, *, rejected_locality: int | None = None) -> Any:
    """
    Carry a request out; its response, or None for a part of HASH_DATA that is not the last.

    SET_DATAFD is the endpoint's own affair.
    """
    command = request.code if isinstance(request, Malformed) else request.command
    if command not in messages.REQUESTS:
        return BAD_ORDINAL
    if not is_legal(command, device.phase):
        is_last = not isinstance(request, messages.HashData) or not request.remaining
        return BAD_ORDINAL if is_last else None
    if isinstance(request, Malformed):
        return Result(request.tpm_result)
    if isinstance(request, messages.SetLocality) and request.loc == rejected_locality:
        return BAD_LOCALITY
    try:
        return ANSWERS[request.command](device, request)
    except BlobError as error:
        log.error("%s: %s", device.name, error)  # noqa: TRY400 - the operator's to mend: no bug, no traceback
        return KEYNOTFOUND if isinstance(error, BlobKeyError) else BAD_PARAMETER
    except (DeviceError, NvstoreError) as error:
        log.error("%s: %s", device.name, error)  # noqa: TRY400 - as above
        return NOT_STARTED if command == CMD.INIT else FAIL


def get_capability(_device: Device, _request: messages.GetCapability) -> messages.Capability:
    """Everything this server can do."""
    return messages.Capability(TPM_RESULT.SUCCESS, CAPABILITIES)


def init(device: Device, request: messages.Init) -> Result:
    """Apply power."""
    device.init(delete_volatile=bool(request.init_flags & messages.INIT_DELETE_VOLATILE))
    return SUCCESS


def stop(device: Device, _request: messages.Stop) -> Result:
    """Power off."""
    device.stop()
    return SUCCESS


def shutdown(device: Device, _request: messages.Shutdown) -> Result:
    """End the run; the endpoint ends the connection."""
    device.close()
    return SUCCESS


def get_tpm_established(device: Device, _request: messages.GetTpmEstablished) -> messages.Established:
    """The established bit."""
    return messages.Established(TPM_RESULT.SUCCESS, device.established, bytes(3))


def set_locality(device: Device, request: messages.SetLocality) -> Result:
    """Set the locality of the commands without one of their own."""
    if request.loc > MAX_LOCALITY:
        return BAD_LOCALITY
    device.locality = request.loc
    return SUCCESS


def hash_start(device: Device, _request: messages.HashStart) -> Result:
    """Begin a measurement."""
    device.hash_start()
    return SUCCESS


def hash_data(device: Device, request: messages.HashData) -> Result | None:
    """Go on with a measurement."""
    device.hash_data(request.data)
    return None if request.remaining else SUCCESS


def hash_end(device: Device, _request: messages.HashEnd) -> Result:
    """Complete a measurement."""
    return Result(device.hash_end())


def cancel_tpm_cmd(_device: Device, _request: messages.CancelTpmCmd) -> Result:
    """The command that was to be canceled is over: a TPM may complete it (Part 1, "Command Cancellation")."""
    return SUCCESS


def store_volatile(device: Device, _request: messages.StoreVolatile) -> Result:
    """Make the volatile state durable."""
    return Result(device.store_volatile())


def reset_tpm_established(device: Device, request: messages.ResetTpmEstablished) -> Result:
    """Clear the established bit."""
    return Result(device.reset_established(request.loc))


def get_state_blob(device: Device, request: messages.GetStateBlob) -> messages.StateBlob:
    """The rest of a blob from an offset; RETRY where there is no such state, as QEMU expects it."""
    if request.type not in set(PTM_BLOB_TYPE):
        return messages.StateBlob(TPM_RESULT.FAIL, 0, 0, b"")
    kind = PTM_BLOB_TYPE(request.type)
    blob = device.state_blob(kind)
    if kind is PTM_BLOB_TYPE.SAVESTATE:
        device.release_storage()
    if not blob:
        return messages.StateBlob(TPM_RESULT.RETRY, 0, 0, b"")
    flags = messages.STATE_ENCRYPTED if device.form.is_encrypted else 0
    rest = device.form.wrap(blob)[request.offset :]
    return messages.StateBlob(TPM_RESULT.SUCCESS, flags, len(rest), rest)


def set_state_blob(device: Device, request: messages.SetStateBlob) -> Result:
    """Give the state for the next INIT."""
    if request.type not in set(PTM_BLOB_TYPE):
        return BAD_PARAMETER
    device.set_state_blob(PTM_BLOB_TYPE(request.type), request.data)
    return SUCCESS


def get_config(device: Device, _request: messages.GetConfig) -> messages.Config:
    """Are the stored state and the state blobs encrypted?"""
    flags = messages.CONFIG_FILE_KEY if device.is_encrypted else 0
    flags |= messages.CONFIG_MIGRATION_KEY if device.form.is_encrypted else 0
    return messages.Config(TPM_RESULT.SUCCESS, flags)


def set_buffer_size(device: Device, request: messages.SetBufferSize) -> messages.BufferSize | Result:
    """Ask for or set the largest command and response."""
    if not may_set_buffer_size(request, device.phase):
        return BAD_ORDINAL
    size = device.set_buffer_size(request.buffersize)
    return messages.BufferSize(TPM_RESULT.SUCCESS, size, MIN_BUFFER_SIZE, device.maximum())


def get_info(device: Device, request: messages.GetInfo) -> messages.Info | Result:
    """A part of the description of the TPM."""
    text = describe(request.flags, device.profile) + b"\0"
    if request.offset >= len(text) - 1:
        return BAD_PARAMETER
    part = text[request.offset : request.offset + messages.MAX_INFO_PART]
    return messages.Info(TPM_RESULT.SUCCESS, len(text), part)


def lock_storage(device: Device, request: messages.LockStorage) -> Result:
    """Take the lock on the stored state, which another host may be about to release."""
    for _ in range(min(request.retries, MAX_LOCK_RETRIES)):
        try:
            device.lock_storage()
        except Locked:
            time.sleep(LOCK_INTERVAL)
        else:
            return SUCCESS
    device.lock_storage()
    return SUCCESS


ANSWERS: Final[dict[CMD, Callable[[Device, Any], Any]]] = {
    CMD.GET_CAPABILITY: get_capability,
    CMD.INIT: init,
    CMD.SHUTDOWN: shutdown,
    CMD.GET_TPMESTABLISHED: get_tpm_established,
    CMD.SET_LOCALITY: set_locality,
    CMD.HASH_START: hash_start,
    CMD.HASH_DATA: hash_data,
    CMD.HASH_END: hash_end,
    CMD.CANCEL_TPM_CMD: cancel_tpm_cmd,
    CMD.STORE_VOLATILE: store_volatile,
    CMD.RESET_TPMESTABLISHED: reset_tpm_established,
    CMD.GET_STATEBLOB: get_state_blob,
    CMD.SET_STATEBLOB: set_state_blob,
    CMD.STOP: stop,
    CMD.GET_CONFIG: get_config,
    CMD.SET_BUFFERSIZE: set_buffer_size,
    CMD.GET_INFO: get_info,
    CMD.LOCK_STORAGE: lock_storage,
}
