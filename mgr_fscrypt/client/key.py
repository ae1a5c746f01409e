"""``key``: master keys that are kept in the cluster, and what opens them."""

import argparse
import os
import time
from contextlib import ExitStack

from ..ceph.access import Access
from ..custody import Custody
from ..format import NEW_KEY_SIZE, MasterKey
from ..keys import bundle, private_files
from ..keys.errors import ContainerError, KeyStoreError, NoSuchKeyError
from ..keys.kms import Settings
from ..keys.lockbox import Lockbox, Tombstone
from ..keys.opener import Opener
from ..keys.signatures import Verdict
from .advice import shown
from .bundle_import import BundleImport
from .key_files import read_key, require_absent, write_key
from .key_reports import Destroyed, Telling
from .key_text import buried, buried_line, line_of, text_of, value_of
from .openers import NewProtector, new_protector, openers_of, show_words
from .outcome import Exit, Failure
from .reach import what_dies
from .report import Reporter
from .times import moment, span
from .typed import require_typed

_LARGEST_BUNDLE = 64 << 20
_TOLD = 1000
"""Keys that one record of the audit names."""


class Keys:
    """The verbs, each a method; the options are those of `key_parsers`."""

    def __init__(
        self, custody_: Custody, reporter: Reporter, options: argparse.Namespace, access: Access
    ) -> None:
        self._custody = custody_
        self._reporter = reporter
        self._options = options
        self._access = access
        self._dry_run = getattr(options, "dry_run", False)
        self._telling = Telling(custody_, reporter, dry_run=self._dry_run)

    def create(self) -> Exit:
        """A new key, or one out of a file."""
        options = self._options
        master = MasterKey(os.urandom(NEW_KEY_SIZE)) if options.source is None else self._adopted()
        made = self._new()
        box = self._custody.acts.create(
            options.named, options.tenant, master, self._label(), made.opener, drill_every=options.drill_every
        )
        return self._done("make", "made", box)

    def add(self) -> Exit:
        """One protector more."""
        options, known = self._options, self._known()
        # all that can be wrong is tried before a code is shown that would open nothing
        found = self._custody.safe.find(options.named)
        found.require_free(self._label())
        self._custody.acts.unlock(found, known)
        box = self._custody.acts.add(options.named, self._label(), self._new().opener, known)
        return self._done(f"add protector {self._label()} to", f"added protector {self._label()} to", box)

    def remove(self) -> Exit:
        """One protector less."""
        name = self._options.protector
        box = self._custody.acts.remove(self._options.named, name)
        return self._done(f"remove protector {name} of", f"removed protector {name} of", box)

    def test(self, *, drill: bool = False) -> Exit:
        """Open it, or do a drill."""
        options = self._options
        named = self._custody.safe.find(options.named).entry(options.protector)
        trouble: KeyStoreError | None = None
        known = self._known()
        for opener in [each for each in known if each.kind == named.kind] or known[:1]:
            try:
                box = self._custody.acts.test(options.named, named.id, opener, drill=drill)
            except KeyStoreError as error:
                trouble = error
            else:
                return self._done(f"note that {named.name} opens", f"{named.name} opens", box)
        raise trouble or Failure(Exit.USAGE, "nothing was given to open it with")

    def rewrap(self) -> Exit:
        """A new container for a protector."""
        options, known = self._options, self._known()
        self._custody.acts.unlock(self._custody.safe.find(options.named), known)
        box = self._custody.acts.rewrap(options.named, options.protector, self._new().opener, known)
        return self._done(
            f"wrap anew for {options.protector}",
            f"wrapped anew for {options.protector} (which revokes nothing: copies of the old container still open):",
            box,
        )

    def recover(self) -> Exit:
        """The key in a file; the cluster's own is marked as having left, of a bundle nobody is told."""
        named, file, known = self._options.named, self._options.file, self._known()
        require_absent(file)
        if self._custody.cluster is None:
            box = self._custody.safe.find(named)
            master = self._custody.acts.unlock(box, known)
        else:
            box, master = self._custody.acts.recover(named, known)
        if not self._dry_run:
            write_key(file, master)
        value = {"key": box.name, "identifier": box.key, "file": str(file), "dry_run": self._dry_run}
        is_in = "would be in" if self._dry_run else "is in"
        text = f"key {box.title} {is_in} {shown(file)}: whoever has it needs nothing else"
        self._reporter.answer(value, text)
        self._telling.of_key(box)
        return Exit.DONE

    def listing(self) -> Exit:
        """A line for each key."""
        code = Exit.DONE
        for found in self._custody.safe.lockboxes():
            if isinstance(found, ContainerError):
                self._reporter.note(f"damaged: {found}")
                code = Exit.DIFFERS
            elif isinstance(found, Tombstone):
                self._reporter.answer(buried(found), buried_line(found))
            else:
                self._reporter.answer(value_of(found), line_of(found))
        return code

    def rescan(self) -> Exit:
        """The manager is told of all."""
        told, damaged = 0, 0
        for found in self._custody.safe.lockboxes():
            if isinstance(found, ContainerError):
                self._reporter.note(f"damaged: {found}")
                damaged += 1
            elif not self._telling.of_key(found):
                return Exit.UNREACHABLE
            else:
                told += 1
        tenants = 0
        for standing in self._custody.schedule.standings():
            if isinstance(standing, ContainerError):
                self._reporter.note(f"damaged: {standing}")
                damaged += 1
            elif not self._telling.of_standing(standing):
                return Exit.UNREACHABLE
            else:
                tenants += 1
        text = f"the manager knows of {told} keys and {tenants} tenants" + (
            f"; {damaged} are damaged" if damaged else ""
        )
        self._reporter.summary({"told": told, "tenants": tenants, "damaged": damaged}, text)
        return Exit.DIFFERS if damaged else Exit.DONE

    def show(self) -> Exit:
        """All of one key."""
        box = self._custody.safe.find(self._options.named)
        self._reporter.answer(value_of(box), text_of(box, time.time()))
        return Exit.DONE

    def disable(self) -> Exit:
        """It opens for nobody."""
        return self._done("disable", "disabled", self._custody.lifecycle.disable(self._options.named))

    def enable(self) -> Exit:
        """It opens again."""
        return self._done("enable", "enabled", self._custody.lifecycle.enable(self._options.named))

    def expire(self) -> Exit:
        """A day to replace it."""
        box = self._custody.lifecycle.expire(self._options.named, self._options.day)
        return self._done(f"have expire {moment(box.expires)}", f"expires {moment(box.expires)}:", box)

    def drill_every(self) -> Exit:
        """How often a drill is due."""
        box = self._custody.lifecycle.drill_every(self._options.named, self._options.time)
        return self._done(
            f"ask for drills every {span(box.drill_every)} of", f"drills every {span(box.drill_every)}:", box
        )

    def destroy(self) -> Exit:
        """The begin of its end, after all that dies with it was told."""
        box = self._custody.safe.find(self._options.named)
        for line in what_dies(self._access, self._custody.keeper.audit, box):
            self._reporter.note(line)
        if not self._dry_run:
            require_typed("key", box.name, self._options.confirm)
        after = self._custody.lifecycle.destroy(box.key, self._options.wait)
        left = f"it opens for nobody now; `key finish` destroys it from {moment(after.due)} on, `key cancel` keeps it:"
        return self._done(f"begin the end of (from {moment(after.due)} on)", left, after)

    def cancel(self) -> Exit:
        """It stays."""
        return self._done("keep", "kept", self._custody.lifecycle.cancel(self._options.named))

    def finish(self) -> Exit:
        """It is destroyed, and that it was is signed."""
        tenant = self._custody.safe.find(self._options.named).binding.tenant
        tombstone = self._custody.lifecycle.finish(self._options.named)
        would = "would destroy" if self._dry_run else "destroyed"
        self._reporter.summary(buried(tombstone), f"{would} key {tombstone.name} ({tombstone.key}) for good")
        self._telling.of_key(tombstone)
        if not self._dry_run:
            self._sign(tenant)
        return Exit.DONE

    def export(self) -> Exit:
        """A bundle."""
        options, safe = self._options, self._custody.safe
        kept = () if options.keys else tuple(safe.lockboxes())
        found = [*map(safe.find, options.keys), *(each for each in kept if isinstance(each, Lockbox))]
        tenants = {box.binding.tenant for box in found}
        versions = [each for tenant in sorted(tenants) for each in safe.versions(tenant)]
        boxes = [*found, *(each for each in versions if isinstance(each, Lockbox))]
        damaged = [each for each in (*kept, *versions) if isinstance(each, ContainerError)]
        for each in damaged:
            self._reporter.note(f"damaged, and not in the bundle: {each}")
        managers = self._settings_of(boxes)
        with ExitStack() as told:
            for begin in range(0, len(found), _TOLD):
                titles = ", ".join(box.title for box in found[begin : begin + _TOLD])
                told.enter_context(self._custody.keeper.told("export-bundle", titles))
            data = bundle.encode(boxes, managers)
            private_files.require_absent(options.file)
            if not self._dry_run:
                private_files.write_private(options.file, data)
        value = {"file": str(options.file), "keys": [box.key for box in found], "damaged": len(damaged)}
        value["dry_run"] = self._dry_run
        holds = "would hold" if self._dry_run else "holds"
        text = f"{shown(options.file)} {holds} {len(found)} wrapped keys"
        self._reporter.summary(value, text + (f"; {len(damaged)} are damaged" if damaged else ""))
        return Exit.DIFFERS if damaged else Exit.DONE

    def import_(self) -> Exit:
        """What a bundle brings, each entry by itself."""
        done = BundleImport(self._custody, self._reporter)
        done.run(self._options.file.read_bytes()[:_LARGEST_BUNDLE])
        for box in done.brought:
            if not box.is_tenant_key:
                self._telling.of_key(box)
        would, left = "would bring" if self._dry_run else "brought", done.left_out
        value = {"file": str(self._options.file), "keys": [box.key for box in done.brought]}
        value |= {"kms": done.managers, "left_out": left}
        text = f"{would} back {len(done.brought)} keys and {len(done.managers)} key managers" + (
            f"; {len(left)} are damaged or were refused" if left else ""
        )
        self._reporter.summary({**value, "dry_run": self._dry_run}, text)
        return Exit.DIFFERS if left else Exit.DONE

    def audit(self) -> Exit:
        """Every act, checked; or a signature of all of them."""
        if self._options.sign is not None:
            record = self._custody.signatures.sign(self._custody.managed(self._options.sign))
            would = "would have" if self._dry_run else "has"
            value = {"kms": self._options.sign, "number": record.number, "digest": record.digest}
            text = f"{self._options.sign} {would} signed the {record.key}; that is record {record.number}"
            self._reporter.summary({**value, "dry_run": self._dry_run}, text)
            return Exit.DONE
        verdicts = set[Verdict]()
        records = self._custody.keeper.audit.records()
        for record, checked in self._custody.signatures.checked(records, self._custody.managed):
            value = {
                name: getattr(record, name)
                for name in ("number", "at", "who", "act", "key", "result", "digest")
            }
            text = f"{record.number:>6}  {moment(record.at)}  {record.act}: {record.key}: {record.result}; {record.who}"
            if checked is None:
                self._reporter.answer(value, shown(text))
                continue
            verdict = checked.verdict
            verdicts.add(verdict)
            self._reporter.answer({**value, "signature": verdict.value}, shown(f"{text}; {verdict.value}"))
            if verdict is not Verdict.GOOD:
                self._reporter.note(
                    shown(f"the signature in record {record.number} is {verdict.value}: {checked.reason}")
                )
        if Verdict.WRONG in verdicts:
            return Exit.DIFFERS
        return Exit.UNREACHABLE if Verdict.UNCHECKED in verdicts else Exit.DONE

    # parts

    def _settings_of(self, boxes: list[Lockbox]) -> list[Settings]:
        """Of the key managers that open these, as far as they are known."""
        found = []
        for name in bundle.managers_of(boxes):
            try:
                found.append(self._custody.kms.find(name))
            except NoSuchKeyError as error:
                self._reporter.note(f"{error}: the bundle does not say how it is reached")
        return found

    def _adopted(self) -> MasterKey:
        """A key out of a file, unless its end is known."""
        master = read_key(self._options.source)
        if Destroyed(self._custody)(master.identifier.hex()):
            raise Failure(
                Exit.REFUSED,
                f"key {master.identifier.hex()} was destroyed, as the manager knows, though no tombstone stands here",
                remedy="make a new key, without --from",
            )
        return master

    def _known(self) -> tuple[Opener, ...]:
        return self._custody.for_keys(openers_of(self._options.open, self._custody.managers))

    def _new(self) -> NewProtector:
        options = self._options
        found = new_protector(options.new, self._tenants, seconds=options.seconds, dry_run=self._dry_run)
        show_words(found, self._reporter)
        return found

    def _tenants(self, name: str | None) -> Opener:
        if name:
            raise Failure(
                Exit.USAGE,
                "a key is wrapped by the key of its tenant, whichever key manager opens that",
                remedy="give `--with kms`; `tenant add` gives a tenant one more key manager",
            )
        return self._custody.by_tenant()

    def _sign(self, tenant: str) -> None:
        """Where a key manager of the tenant can; what was done stands without it."""
        try:
            signers = self._custody.signers_of(tenant)
        except KeyStoreError as error:
            self._reporter.note(f"the audit was not signed: {error}")
            return
        for name in signers:
            try:
                self._custody.signatures.sign(self._custody.managed(name))
            except KeyStoreError as error:
                self._reporter.note(
                    f"{name} has not signed the audit ({error}); `cephfs-fscrypt key audit --sign {name}` does it later"
                )

    def _label(self) -> str:
        return str(self._options.label or self._options.new.kind)

    def _done(self, would: str, did: str, box: Lockbox) -> Exit:
        value = {**value_of(box), "dry_run": self._dry_run}
        what = f"would {would}" if self._dry_run else did
        self._reporter.summary(value, f"{what} key {box.title}")
        self._telling.of_key(box)
        return Exit.DONE
