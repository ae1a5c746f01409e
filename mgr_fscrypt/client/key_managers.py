"""``tenant`` and ``kms``: the keys of tenants, and the key managers that open them."""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from ..custody import Custody
from ..keys.errors import KmsSettingsError
from ..keys.kms import KINDS, Settings, Standing, standing, trust
from .advice import failure_of, shown
from .key_reports import Telling
from .key_text import protector_value
from .openers import openers_of
from .outcome import Exit, Failure
from .report import Reporter
from .tenant_protectors import forget_unneeded
from .times import moment, span
from .typed import require_typed


class KeyManagers:
    """The verbs, each a method; the options are those of `key_parsers`."""

    def __init__(self, custody: Custody, reporter: Reporter, options: argparse.Namespace) -> None:
        self._custody = custody
        self._reporter = reporter
        self._options = options
        self._dry_run = getattr(options, "dry_run", False)
        self._telling = Telling(custody, reporter, dry_run=self._dry_run)

    def create(self) -> Exit:
        """Its first key."""
        tenant, name = self._options.tenant, self._options.kms
        box = self._custody.tenants.create(tenant, self._custody.managed(name))
        would = "would make" if self._dry_run else "made"
        value = {"tenant": tenant, "kms": name, "version": 1, "dry_run": self._dry_run}
        self._reporter.summary(value, f"{would} the key of tenant {tenant}, which {name} opens")
        forget_unneeded(self._custody, self._reporter, box.entries if self._dry_run else ())
        self._telling.of_tenant(tenant)
        return Exit.DONE

    def tenants(self) -> Exit:
        """Tenants that have a key."""
        for tenant in self._custody.safe.tenants():
            boxes = self._custody.safe.tenant_keys(tenant)
            ways = [entry.name for box in boxes[:1] for entry in box.in_use()]
            versions = [box.key.rpartition(" ")[2] for box in boxes]
            rotation = self._custody.schedule.standing(tenant)
            value: dict[str, object] = {"tenant": tenant, "versions": versions, "rotated": rotation.rotated}
            value |= {"rotate_every": rotation.every, "rotation_due": rotation.due}
            value["protectors"] = [protector_value(entry) for box in boxes[:1] for entry in box.in_use()]
            due = (
                f"  rotated every {span(rotation.every)}, due {moment(rotation.due)}" if rotation.due else ""
            )
            self._reporter.answer(
                value, f"{tenant}  key version {', '.join(versions)}  by {', '.join(ways)}{due}"
            )
        return Exit.DONE

    def rotate(self) -> Exit:
        """A new key, and all master keys under it."""
        tenant = self._options.tenant
        leaving = self._options.leave
        names = [name for name in self._custody.managers_of(tenant) if name not in leaving]
        managed = {name: self._custody.managed(name) for name in names}
        given = openers_of(self._options.open, self._custody.managers)
        others = self._custody.tenants.openers_of(tenant, given)
        if self._options.kms_too and not self._dry_run:
            for each in managed.values():
                each.rotate()
        openers = {**managed, **others}
        with self._under_way(tenant) as proceed:
            done = self._custody.tenants.rotate(
                tenant,
                openers,
                self._custody.acts,
                leaving=leaving,
                proceed=proceed,
                wrapped=self._telling.of_key,
            )
        would = "would have" if self._dry_run else "has"
        value = {
            "tenant": tenant,
            "version": done.version,
            "rewrapped": done.rewrapped,
            "dry_run": self._dry_run,
        }
        text = f"tenant {tenant} {would} version {done.version} of its key, with {done.rewrapped} master keys under it"
        self._reporter.summary(value, text)
        forget_unneeded(self._custody, self._reporter, done.made if self._dry_run else done.unneeded)
        self._telling.of_tenant(tenant)
        return Exit.DONE

    def rotate_every(self) -> Exit:
        """How often that is done by itself."""
        tenant = self._options.tenant
        rotation = self._custody.schedule.rotate_every(tenant, self._options.time)
        every = (
            f"every {span(rotation.every)}, next from {moment(rotation.due)} on"
            if rotation.every
            else "never"
        )
        by_itself = "would be rotated" if self._dry_run else "is rotated"
        value = {"tenant": tenant, "rotate_every": rotation.every, "rotation_due": rotation.due}
        text = f"the key of tenant {tenant} {by_itself} by the engine service: {every}"
        self._reporter.summary({**value, "dry_run": self._dry_run}, text)
        if rotation.every and (rotation.others or not rotation.managers):
            self._reporter.note(
                "not by key managers alone is it opened, so the engine service cannot: health will tell when it is "
                f"time for `cephfs-fscrypt tenant rotate {tenant}`"
            )
        self._telling.of_tenant(tenant)
        return Exit.DONE

    def add(self) -> Exit:
        """A key manager that is known from now on."""
        options = self._options
        extra = dict(each.partition("=")[::2] for each in options.option)
        settings = Settings(
            options.kms, options.kind, options.address, options.kms_key, options.credentials_file, extra
        )
        here, why = self._standing(settings)
        with self._custody.keeper.told("kms-add", settings.name):
            self._custody.kms.add(settings)
        if here is Standing.UNPINNED and not self._dry_run:
            trust(options.credentials, settings)
        would = "would add" if self._dry_run else "added"
        title, name = KINDS[settings.kind].title, settings.name
        if why:
            self._reporter.note(
                shown(f"{why}. Whoever owns it says that it is for {name}: `cephfs-fscrypt kms trust {name}`")
            )
        text = f"{would} {name}: {title}; try it with `cephfs-fscrypt kms test {name}`"
        self._reporter.summary({"kms": settings.name, "dry_run": self._dry_run}, text)
        return Exit.DONE

    def trust(self) -> Exit:
        """Credentials on this host are used for what is stored now."""
        options = self._options
        settings = self._custody.kms.find(options.kms)
        file = options.credentials / settings.credentials
        value: dict[str, object] = {"kms": settings.name, "file": str(file)}
        self._reporter.answer({**value, "settings": asdict(settings)}, _lines_of(settings))
        here = standing(options.credentials, settings)
        if here is not Standing.PINNED and not self._dry_run:
            require_typed("kms", settings.name, options.confirm)
            trust(options.credentials, settings)
        would = "would be" if self._dry_run and here is not Standing.PINNED else "is"
        self._reporter.summary(
            {**value, "dry_run": self._dry_run},
            f"{shown(file)} {would} for these settings, and for no others",
        )
        return Exit.DONE

    def listing(self) -> Exit:
        """All that are known."""
        for each in self._custody.kms:
            kind = KINDS.get(each.kind)
            title = each.kind if kind is None else kind.title
            if kind is not None and not kind.flags.proven:
                title += ", untested against the real service"
            value = {"name": each.name, "kind": each.kind, "address": each.address, "key": each.key}
            value |= {"credentials": each.credentials}
            self._reporter.answer(
                {**value, "options": dict(each.options)},
                shown(f"{each.name}  {title}  {each.address}  key {each.key}"),
            )
        return Exit.DONE

    def test(self) -> Exit:
        """Is it there, and does it wrap for us?"""
        begun = time.monotonic()
        self._custody.managed(self._options.kms).check()
        took = time.monotonic() - begun
        value = {"kms": self._options.kms, "seconds": round(took, 4)}
        self._reporter.answer(value, f"{self._options.kms} wraps and unwraps, in {took:.3f} s")
        return Exit.DONE

    def remove(self) -> Exit:
        """One that is not known any more."""
        name = self._options.kms
        with self._custody.keeper.told("kms-rm", name):
            self._custody.kms.remove(name)
        would = "would forget" if self._dry_run else "forgot"
        self._reporter.summary(
            {"kms": name, "dry_run": self._dry_run}, f"{would} {name}; what it wrapped stays wrapped"
        )
        return Exit.DONE

    # parts

    @contextmanager
    def _under_way(self, tenant: str) -> Iterator[Callable[[], object]]:
        """A rotation, and what it calls before each step; one that ends after the first tells how things are left."""
        steps = list[None]()
        try:
            yield lambda: steps.append(None)
        except Exception as error:
            failure = failure_of(error)
            if failure is None or self._dry_run or len(steps) < 2:
                raise
            first = f"{failure.remedy.rstrip('.')}; then run" if failure.remedy else "run"
            raise Failure(
                failure.code,
                failure.happened,
                left=f"all data, and what opens it; some keys are under the new key of tenant {tenant}, others not yet",
                remedy=f"{first} it again: it goes on",
            ) from error

    def _standing(self, settings: Settings) -> tuple[Standing, str]:
        """Of the credentials file on this host, and why that cannot be used here, which is no reason not to add."""
        file = self._options.credentials / settings.credentials
        try:
            found = standing(self._options.credentials, settings)
        except KmsSettingsError as error:
            return Standing.ABSENT, str(error)
        if found is Standing.ELSEWHERE:
            raise Failure(
                Exit.REFUSED,
                f"{shown(file)} is for other settings",
                remedy="give each key of a key manager a file of its own: a copy without the field `for` will do",
            )
        return found, f"there is no {file} on this host" if found is Standing.ABSENT else ""


def _lines_of(settings: Settings) -> str:
    """All that is stored, a line each."""
    told = {"kind": settings.kind, "address": settings.address, "key": settings.key}
    told |= {f"option {name}": value for name, value in sorted(settings.options.items())}
    return "\n".join(shown(f"{name:<16} {value}") for name, value in told.items())
