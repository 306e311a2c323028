"""ICE-lite: who is answered, who is not, and how the path moves."""

from __future__ import annotations

import pytest
from aioice import stun

from engine.media import ice, limits
from engine.media.ice import IceLite
from tests.support.media_packets import binding_request

HERE = ("192.0.2.1", 4000)
THERE = ("192.0.2.2", 5000)


@pytest.fixture
def agent() -> IceLite:
    agent = IceLite(now_ns=0)
    agent.set_remote(agent.current.ufrag, "browser0")
    return agent


def test_a_check_is_answered_with_the_address_it_came_from(agent: IceLite) -> None:
    request = binding_request(agent.current)
    reply = agent.handle_request(request, HERE, 5)
    assert reply.accepted
    assert reply.added
    assert reply.response is not None
    response = stun.parse_message(reply.response)
    assert response.message_class is stun.Class.RESPONSE
    assert response.transaction_id == stun.parse_message(request).transaction_id
    assert response.attributes["XOR-MAPPED-ADDRESS"] == HERE
    assert response.check_message_integrity(agent.current.password.encode())
    assert agent.last_check_ns == 5


def test_the_answer_to_a_v6_check_names_a_v6_address(agent: IceLite) -> None:
    reply = agent.handle_request(binding_request(agent.current), ("2001:db8::1", 7, 0, 0), 5)
    assert reply.response is not None
    mapped = stun.parse_message(reply.response).attributes["XOR-MAPPED-ADDRESS"]
    assert mapped == ("2001:db8::1", 7)


def test_a_v4_peer_of_a_dual_stack_socket_is_told_its_v4_address(agent: IceLite) -> None:
    address = ("::ffff:192.0.2.7", 9, 0, 0)
    reply = agent.handle_request(binding_request(agent.current), address, 5)
    assert reply.response is not None
    mapped = stun.parse_message(reply.response).attributes["XOR-MAPPED-ADDRESS"]
    assert mapped == ("192.0.2.7", 9)


def test_unauthentic_checks_change_nothing(agent: IceLite) -> None:
    forged = [
        binding_request(agent.current, password="x" * 28),
        binding_request(agent.current, remote_ufrag="stranger"),
        binding_request(ice.new_credentials()),
        binding_request(agent.current, fingerprint=False),
        binding_request(agent.current)[:-1],
        b"",
    ]
    bent = bytearray(binding_request(agent.current))
    bent[-1] ^= 1
    for request in [*forged, bytes(bent)]:
        assert agent.handle_request(request, HERE, 99) == ice.IceReply()
    assert agent.addresses == []
    assert agent.selected is None
    assert agent.last_check_ns == 0


def test_a_response_or_an_indication_is_not_a_check(agent: IceLite) -> None:
    for kind in (stun.Class.RESPONSE, stun.Class.INDICATION):
        message = stun.Message(stun.Method.BINDING, kind)
        message.attributes["USERNAME"] = f"{agent.current.ufrag}:browser0"
        message.add_message_integrity(agent.current.password.encode())
        assert ice.local_ufrag(bytes(message)) is None
        assert agent.handle_request(bytes(message), HERE, 1).response is None


def test_a_peer_that_believes_to_be_controlled_is_told_of_the_conflict(agent: IceLite) -> None:
    reply = agent.handle_request(binding_request(agent.current, controlled=True), HERE, 1)
    assert not reply.accepted
    assert reply.response is not None
    assert stun.parse_message(reply.response).error_code == 487
    assert agent.addresses == []


def test_checks_may_overtake_the_answer() -> None:
    agent = IceLite(now_ns=0)
    assert agent.handle_request(binding_request(agent.current, "anyone"), HERE, 1).accepted


def test_nomination_selects_and_the_latest_wins(agent: IceLite) -> None:
    agent.handle_request(binding_request(agent.current), THERE, 1)
    assert agent.selected is None
    first = agent.handle_request(binding_request(agent.current, use_candidate=True), HERE, 2)
    assert first.nominated
    assert agent.selected == HERE
    again = agent.handle_request(binding_request(agent.current, use_candidate=True), HERE, 3)
    assert not again.nominated
    agent.handle_request(binding_request(agent.current, use_candidate=True), THERE, 4)
    assert agent.selected == THERE


def test_addresses_are_bounded_and_the_selected_one_stays(agent: IceLite) -> None:
    agent.handle_request(binding_request(agent.current, use_candidate=True), HERE, 1)
    evicted = []
    for number in range(20):
        reply = agent.handle_request(binding_request(agent.current), ("192.0.2.9", number + 1), 2)
        evicted.append(reply.evicted)
    assert len(agent.addresses) == limits.MAX_ADDRESSES_PER_LEG
    assert HERE in agent.addresses
    assert next(e for e in evicted if e) == ("192.0.2.9", 1)


def test_consent_expires_after_the_last_check(agent: IceLite) -> None:
    agent.handle_request(binding_request(agent.current), HERE, 7)
    assert agent.consent_deadline_ns() == 7 + limits.CONSENT_TIMEOUT_NS


def test_checks_of_other_paths_are_no_consent_for_the_selected_one(agent: IceLite) -> None:
    agent.handle_request(binding_request(agent.current, use_candidate=True), HERE, 7)
    agent.handle_request(binding_request(agent.current), THERE, 9)
    assert agent.consent_deadline_ns() == 7 + limits.CONSENT_TIMEOUT_NS
    # The peer has gone over to the other path without a word.
    assert agent.give_up_path(8 + limits.CONSENT_TIMEOUT_NS) == THERE
    assert agent.selected == THERE
    assert agent.consent_deadline_ns() == 9 + limits.CONSENT_TIMEOUT_NS
    assert agent.give_up_path(9 + limits.CONSENT_TIMEOUT_NS) is None
    assert agent.selected is None


def test_restart_keeps_the_old_path_until_the_new_one_is_nominated(agent: IceLite) -> None:
    old = agent.current
    agent.handle_request(binding_request(old, use_candidate=True), HERE, 1)
    assert agent.restart() is None
    new = agent.offered
    assert new != old
    agent.set_remote(new.ufrag, "browser1")
    assert agent.handle_request(binding_request(old), HERE, 2).accepted
    check = agent.handle_request(binding_request(new, "browser1"), THERE, 3)
    assert check.accepted
    assert agent.selected == HERE
    reply = agent.handle_request(binding_request(new, "browser1", use_candidate=True), THERE, 4)
    assert reply.retired_ufrag == old.ufrag
    assert agent.selected == THERE
    assert agent.ufrags() == [new.ufrag]
    assert not agent.handle_request(binding_request(old), HERE, 5).accepted


def test_a_second_restart_replaces_an_unfinished_one(agent: IceLite) -> None:
    agent.restart()
    first = agent.offered.ufrag
    assert agent.restart() == first
    assert first not in agent.ufrags()


def test_an_address_that_another_leg_took_is_forgotten(agent: IceLite) -> None:
    agent.handle_request(binding_request(agent.current), THERE, 1)
    agent.handle_request(binding_request(agent.current, use_candidate=True), HERE, 2)
    agent.forget(HERE)
    assert agent.selected == THERE
    assert agent.checked_at_ns(HERE) == 0


def test_the_look_before_parsing_finds_the_local_half() -> None:
    credentials = ice.new_credentials()
    assert ice.local_ufrag(binding_request(credentials)) == credentials.ufrag
    assert ice.local_ufrag(bytes(limits.MAX_STUN_BYTES + 4)) is None
    assert ice.local_ufrag(b"\x00\x01" + bytes(30)) is None
