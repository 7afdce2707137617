"""Whether a process's login counts as good, by the process's word and by its provider's."""

from engine.codex import loginstate


def test_a_login_is_as_good_as_what_was_heard_of_it_last() -> None:
    now = [100.0]
    login = loginstate.LoginState(lambda: now[0])
    assert (login.is_there, login.is_good) == (False, False)
    login.found(True)
    assert (login.is_there, login.is_good) == (True, True)
    login.refused()
    assert (login.is_there, login.is_good) == (True, False)
    login.accepted()
    assert login.is_good
    login.refused()
    now[0] += loginstate.DOUBT_S - 0.1
    assert not login.is_good
    now[0] += 0.2
    assert login.is_good, "another try can show it"
    login.refused()
    login.found(True)
    assert login.is_good
    login.accepted()
    login.found(False)
    assert not login.is_good
