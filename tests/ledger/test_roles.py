from ledger.roles import Roles


def test_roles_are_named_by_the_first_digits_of_their_ledgers_origin():
    roles = Roles.of("test")  # SHA-256: 9f86d081884c7d659a2feaa0c55ad015…
    assert roles == Roles("kashi_owner_9f86d081884c7d65", "kashi_service_9f86d081884c7d65")
    assert roles.names == {
        "owner": "kashi_owner_9f86d081884c7d65",
        "service": "kashi_service_9f86d081884c7d65",
    }


def test_ledgers_of_other_names_have_other_roles():
    names = {name for origin in ("a", "b", "B") for name in Roles.of(origin).names.values()}
    assert len(names) == 6
