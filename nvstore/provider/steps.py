"""The later steps of a provider's life: disabled, deleted after a delay that can be canceled, destroyed."""

from nvstore.document import seconds_of, timestamp
from nvstore.provider.lifecycle import DAY, MIN_DAYS_TO_DELETION, State, Step
from nvstore.provider.provider import activated
from nvstore.provider.setting import Setting
from nvstore.provider_errors import ProviderInUse, ProviderUnverified, TooEarly


class Steps:
    """The steps towards the end of one host's providers; `Host.steps`."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._book, self._ring, self._audit = setting.book, setting.ring, setting.audit
        self._chain = setting.chain

    def __repr__(self) -> str:
        return f"Steps({self._book!r})"

    def disable(self, name: str) -> None:
        """Make no new VMs under a provider; those that are there keep working."""
        self._step(Step.DISABLE, name)

    def enable(self, name: str) -> None:
        """Take `disable` or a canceled deletion back; ProviderUnverified without a verified backup."""
        if self._chain.open(name).last_verified() is None:
            raise ProviderUnverified(name)
        self._step(Step.ENABLE, name)

    def schedule_deletion(self, name: str, *, days: int = MIN_DAYS_TO_DELETION) -> None:
        """Let the keys of a provider be destroyed in so many days; ProviderInUse while a VM needs them."""
        if days < MIN_DAYS_TO_DELETION:
            raise TooEarly(
                name, f"cannot be destroyed in {days} days", f"wait at least {MIN_DAYS_TO_DELETION}"
            )
        delete_after = timestamp(self._setting.clock() + days * DAY)
        self._step(Step.SCHEDULE_DELETION, name, delete_after=delete_after)

    def cancel_deletion(self, name: str) -> None:
        """Take `schedule_deletion` back; the provider is disabled then."""
        self._step(Step.CANCEL_DELETION, name, delete_after=None)

    def destroy(self, name: str) -> None:
        """
        Destroy the keys of a provider on this host, once the time of its scheduled deletion has come.

        Its name and the ids of its keys stay known, so that the name is not used again for other keys.
        A key file in the host's directory of keys is overwritten and removed, if it seals nothing else.
        Its blocks may stay on a disk that does not overwrite in place, and keys in backups: see `holders`.
        """
        provider = self._chain.open(name)
        due = provider.delete_after
        if provider.state is State.PENDING_DELETION and due and self._setting.clock() < seconds_of(due):
            raise TooEarly(name, f"may not be destroyed before {due}", "wait, or cancel the deletion")
        retired = (*provider.retired, *(key.entry for key in provider.keys))
        self._step(Step.DESTROY, name, keys=(), retired=retired, delete_after=None, default_for=())
        for key in provider.keys:
            self._ring.drop(key.entry.kdk_id)
        self._setting.remove_key_files(provider)

    def _step(self, step: Step, name: str, **changes: object) -> None:
        """Take a step of a provider's life; nothing that leads to its end while a VM needs its keys."""
        begun = step is Step.DESTROY
        with (
            self._audit.entry(f"provider-{step.value}", begun=begun, provider=name) as facts,
            self._book.exclusive(),
        ):
            provider = self._chain.open(name)
            facts["kdk_id"] = provider.current.hex()
            after = provider.after(step, **changes)
            if step in {Step.SCHEDULE_DELETION, Step.DESTROY}:
                users = self._setting.users(provider.kdk_ids, name)
                if users:
                    raise ProviderInUse(name, users)
            self._chain.write(activated(after))
