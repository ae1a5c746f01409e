import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgr_fscrypt.messages import MessageError, Policy, SubtreeFacts

KEY = "00112233445566778899aabbccddeeff"
FACTS = SubtreeFacts(
    inode=0x10000000000, mode="engine", policy=Policy("AES-256-XTS", "AES-256-CBC-CTS", 32, KEY)
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=6),
    max_leaves=8,
)


def changed(**fields: object) -> str:
    return json.dumps(json.loads(FACTS.encode()) | fields)


def changed_policy(**fields: object) -> str:
    value = json.loads(FACTS.encode())
    return json.dumps(value | {"policy": value["policy"] | fields})


def test_wire_form():
    assert json.loads(FACTS.encode()) == {
        "kind": "fscrypt.subtree",
        "version": 1,
        "inode": 1099511627776,
        "mode": "engine",
        "policy": {
            "contents": "AES-256-XTS",
            "names": "AES-256-CBC-CTS",
            "padding": 32,
            "key_identifier": KEY,
        },
    }


def test_round_trip():
    assert SubtreeFacts.decode(FACTS.encode()) == FACTS


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("[" * 4000, "not JSON|must be a JSON object"),
        ("[]", "the message must be a JSON object"),
        ("{}", "inode, kind, mode, policy, version missing"),
        (changed(kind="other"), "kind must be fscrypt.subtree"),
        (changed(version=2), "version must be 1"),
        (changed(version=True), "version must be 1"),
        (changed(version=1.0), "version must be 1"),
        (changed(master_key="00"), "unknown field master_key"),
        (changed_policy(nonce="00"), "unknown field nonce"),
        (changed(inode=0), "inode must be"),
        (changed(inode=True), "inode must be"),
        (changed(inode=2**63), "inode must be"),
        (changed(inode="1"), "inode must be"),
        (changed(mode="both"), "mode must be engine or kernel"),
        (changed(mode=["engine"]), "mode must be engine or kernel"),
        (changed(policy=None), "policy must be a JSON object"),
        (changed_policy(contents="AES-128-CBC-ESSIV"), "AES-128-CBC-ESSIV with AES-128-CBC-CTS"),
        (changed_policy(contents=["AES-256-XTS"]), "policy.contents must be a string"),
        (changed_policy(padding=5), "policy.padding must be 4, 8, 16 or 32"),
        (changed_policy(padding=4.0), "policy.padding must be 4, 8, 16 or 32"),
        (changed_policy(key_identifier=KEY.upper()), "32 lower-case"),
        (changed_policy(key_identifier=KEY + "\n"), "32 lower-case"),
        (FACTS.encode() + " " * 4096, "at most 4096 characters"),
    ],
)
def test_refuses(text: str, says: str):
    with pytest.raises(MessageError, match=says):
        SubtreeFacts.decode(text)


@given(json_values)
def test_any_json_is_a_value_or_a_message_error(value: object):
    with pytest.raises(MessageError):
        SubtreeFacts.decode(json.dumps(value))


@given(st.sampled_from(["inode", "mode", "policy", "kind", "version"]), json_values)
def test_any_field_is_checked(field: str, value: object):
    try:
        decoded = SubtreeFacts.decode(changed(**{field: value}))
    except MessageError:
        return
    assert SubtreeFacts.decode(decoded.encode()) == decoded
