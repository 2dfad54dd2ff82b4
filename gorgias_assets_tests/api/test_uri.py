"""The account's URI: accepted ones, ones refused in one sentence, and no key in any error or repr."""

import re
import traceback
from urllib.parse import quote, urlsplit

import pytest
import requests
from hypothesis import assume, example, given
from hypothesis import strategies as st

from gorgias_assets.api.uri import EXPECTED_FORM, GorgiasUri, InvalidUri, check_api_url

KEY = "7391840265917"
EMAIL = "ana@shop.example"
GOOD = f"gorgias://mycompany?api_key={KEY}&email={EMAIL}"
LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)


def refusal_of(uri: str) -> InvalidUri:
    with pytest.raises(InvalidUri) as caught:
        GorgiasUri.parse(uri)
    return caught.value


def shown_by(error: BaseException) -> str:
    return "".join([str(error), repr(error), *traceback.format_exception(error)])


def assert_one_sentence(message: str) -> None:
    assert re.fullmatch(r"The Gorgias [^\n]+[^.\n]\.", message)


def test_a_uri_holds_the_domain_the_email_and_the_key() -> None:
    account = GorgiasUri.parse(GOOD)
    assert (account.domain, account.email, account.api_key) == ("mycompany", EMAIL, KEY)
    assert account.api_url == "https://mycompany.gorgias.com/api"


@pytest.mark.parametrize(
    "uri",
    [
        f"gorgias://mycompany.gorgias.com?api_key={KEY}&email={EMAIL}",
        f"gorgias://MyCompany.Gorgias.com?api_key={KEY}&email={EMAIL}",
        f"gorgias://mycompany/?api_key={KEY}&email={EMAIL}",
        f"gorgias://mycompany?email={EMAIL}&api_key={KEY}",
        f"GORGIAS://mycompany?api_key={KEY}&email=ana%40shop.example",
        f"  {GOOD}\n",
        f"{GOOD} \r\n",
        f"\t{GOOD}\u00a0",
    ],
)
def test_other_spellings_of_the_same_account_are_accepted(uri: str) -> None:
    assert GorgiasUri.parse(uri) == GorgiasUri.parse(GOOD)


def test_a_plus_stays_a_plus_because_email_addresses_have_them() -> None:
    account = GorgiasUri.parse("gorgias://mycompany?api_key=a+b&email=ana+shop@example.com")
    assert (account.api_key, account.email) == ("a+b", "ana+shop@example.com")


@given(domain=LABELS, key=TEXTS, user=TEXTS, key_first=st.booleans())
@example(domain="a", key="a&b=c#d%e?f/g:h+i j", user="é🙂", key_first=True)
def test_whatever_is_percent_encoded_comes_back_as_it_was(domain: str, key: str, user: str, key_first: bool) -> None:
    assume(key.strip() and ":" not in user)
    email = f"{user}@shop.example"
    parameters = [f"api_key={quote(key, safe='')}", f"email={quote(email, safe='')}"]
    account = GorgiasUri.parse(f"gorgias://{domain}?{'&'.join(parameters if key_first else parameters[::-1])}")
    assert (account.domain, account.email, account.api_key) == (domain, email, key)


@pytest.mark.parametrize(
    ("uri", "what"),
    [
        (f"gorgias://?api_key={KEY}&email={EMAIL}", "has no domain"),
        (f"gorgias:?api_key={KEY}&email={EMAIL}", "has no domain"),
        (f"gorgias://.gorgias.com?api_key={KEY}&email={EMAIL}", "has no domain"),
        (f"gorgias://mycompany?email={EMAIL}", "has no api_key"),
        (f"gorgias://mycompany?api_key=&email={EMAIL}", "has no api_key"),
        (f"gorgias://mycompany?api_key=%20&email={EMAIL}", "has no api_key"),
        (f"gorgias://mycompany?api_key&email={EMAIL}", "has no api_key"),
        ("gorgias://mycompany", "has no api_key"),
        (f"gorgias://mycompany?api_key={KEY}", "has no email"),
        (f"gorgias://mycompany?api_key={KEY}&email=", "has no email"),
        (f"gorgias://mycompany?api_key={KEY}&email=ana", "not an e-mail address"),
        (f"gorgias://mycompany?api_key={KEY}&email={EMAIL}:x", "not an e-mail address"),
        (f"gorgias://mycompany?api_key={KEY}&api_key={KEY}&email={EMAIL}", "twice"),
        (f"gorgias://mycompany?api_key={KEY}&email={EMAIL}&verify=no", "other than api_key and email"),
        (f"gorgias://mycompany?api_key=ab&{KEY}&email={EMAIL}", "other than api_key and email"),
        (f"gorgias://mycompany?API_KEY={KEY}&email={EMAIL}", "other than api_key and email"),
        (f"gorgias://mycompany?email={EMAIL}&api_key=ab#{KEY}", "%23"),
        (f"https://mycompany?api_key={KEY}&email={EMAIL}", "gorgias://"),
        (f"mycompany?api_key={KEY}&email={EMAIL}", "gorgias://"),
        (f"gorgiass://mycompany?api_key={KEY}&email={EMAIL}", "gorgias://"),
        (KEY, "gorgias://"),
        ("", "gorgias://"),
    ],
)
def test_what_is_wrong_is_named_in_one_sentence_with_the_expected_form(uri: str, what: str) -> None:
    error = refusal_of(uri)
    assert what in str(error)
    assert EXPECTED_FORM in str(error)
    assert_one_sentence(str(error))
    assert KEY not in shown_by(error)


@pytest.mark.parametrize("odd", ["%ff", "%00", "%0A", "%1b", "%ed%a0%80", "\x00", "\n", "\x1b", "\udcff", "\x85"])
@pytest.mark.parametrize(
    "uri",
    [
        "gorgias://mycompany?api_key={key}{odd}&email={email}",
        "gorgias://mycompany?api_key={key}&email={odd}{email}",
        "gorgias://mycompany?api_key{odd}={key}&email={email}",
        "gorgias://my{odd}company?api_key={key}&email={email}",
    ],
)
def test_bytes_that_are_no_text_and_control_characters_are_refused_in_one_sentence(uri: str, odd: str) -> None:
    error = refusal_of(uri.format(key=KEY, email=EMAIL, odd=odd))
    assert_one_sentence(str(error))
    assert KEY not in shown_by(error)


def test_a_hash_at_the_end_of_the_key_is_not_dropped_silently() -> None:
    assert "%23" in str(refusal_of(f"gorgias://mycompany?email={EMAIL}&api_key={KEY}#"))


@pytest.mark.parametrize(
    "domain",
    [
        "my.company",
        "evil.example",
        "mycompany.gorgias.com.evil.example",
        "mycompany.gorgias.com.gorgias.com",
        "mycompany.gorgias.com.",
        "gorgias.com",
        "ana@mycompany",
        "ana:pw@mycompany",
        "mycompany@evil.example",
        "mycompany.gorgias.com@evil.example",
        "mycompany:443",
        "mycompany:",
        "mycompany/evil",
        "evil.example/.gorgias.com",
        "evil.example#.gorgias.com",
        "evil.example?.gorgias.com",
        "evil.example\\.gorgias.com",
        "evil.example%2f.gorgias.com",
        "mycompany\\evil",
        "[::1]",
        "[::1",
        "127.0.0.1",
        "-mycompany",
        "mycompany-",
        "my_company",
        "my company",
        "a" * 64,
        "m\u00fccompany",
        "\uff4dycompany",
        "mycompany\u3002evil",
        "mycompany\uff0fevil",
        "mycomp\u0430ny",
        "\u212aompany",
    ],
)
def test_a_domain_that_could_lead_elsewhere_is_refused(domain: str) -> None:
    error = refusal_of(f"gorgias://{domain}?api_key={KEY}&email={EMAIL}")
    assert_one_sentence(str(error))
    assert EXPECTED_FORM in str(error)
    assert KEY not in shown_by(error)


@given(st.text(st.sampled_from("ab.-@:/\\?#[]%&= \t\nKs\u212a\u017f\u3002\uff0egorgias.com"), max_size=20))
@example("my.gorgias.com\\@evil.example")
def test_whatever_is_accepted_as_a_domain_the_key_goes_to_one_subdomain_of_gorgias(domain: str) -> None:
    try:
        account = GorgiasUri.parse(f"gorgias://{domain}?api_key={KEY}&email={EMAIL}")
    except InvalidUri:
        return
    sent_to = urlsplit(requests.Request("GET", account.api_url + "/tickets").prepare().url or "")
    assert re.fullmatch(r"[a-z0-9-]+\.gorgias\.com", str(sent_to.netloc))
    assert sent_to.path == "/api/tickets"


@given(data=st.data())
def test_no_mangling_of_a_uri_makes_an_error_show_the_key(data: st.DataObject) -> None:
    uri = GOOD
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(uri)))
        end = data.draw(st.integers(start, min(len(uri), start + 3)))
        uri = (
            uri[:start]
            + data.draw(st.text(st.sampled_from(":/?#[]@&=%\\+ \x00\n\uff0f\u2100x"), max_size=3))
            + uri[end:]
        )
    try:
        shown = repr(GorgiasUri.parse(uri))
    except InvalidUri as error:
        shown = shown_by(error)
    assert not [part for part in (KEY[i : i + 5] for i in range(len(KEY) - 4)) if part in shown]


def test_the_key_is_in_no_form_of_a_parsed_uri() -> None:
    account = GorgiasUri.parse(GOOD)
    assert KEY not in f"{account} {account!r} {account.api_url} {[account]} {{'account': account}}"


@pytest.mark.parametrize(
    "api_url",
    [
        "http://127.0.0.1:8765/api",
        "http://localhost:8765/api",
        "http://[::1]:8765/api",
        "https://mycompany.gorgias.com/api",
        "https://proxy.example:8443/gorgias/api",
    ],
)
def test_an_api_url_is_https_or_on_loopback(api_url: str) -> None:
    assert check_api_url(api_url) == api_url
    assert check_api_url(api_url + "/") == api_url


@pytest.mark.parametrize(
    "api_url",
    [
        "http://mycompany.gorgias.com/api",
        "http://127.0.0.1.evil.example/api",
        "http://localhost.evil.example/api",
        "http://127.0.0.1@evil.example/api",
        "http://evil.example\\@127.0.0.1/api",
        "http://127.0.0.1\\.evil.example/api",
        "http://0.0.0.0/api",
        "http://[::ffff:192.0.2.1]/api",
        f"https://ana:{KEY}@mycompany.gorgias.com/api",
        f"https://mycompany.gorgias.com/api?api_key={KEY}",
        f"https://mycompany.gorgias.com/api#{KEY}",
        "ftp://127.0.0.1/api",
        "mycompany.gorgias.com/api",
        "https:///api",
        "https://[::1/api",
        "",
    ],
)
def test_an_api_url_on_which_the_key_could_be_read_is_refused(api_url: str) -> None:
    with pytest.raises(InvalidUri) as caught:
        check_api_url(api_url)
    assert_one_sentence(str(caught.value))
    assert KEY not in shown_by(caught.value)


@pytest.mark.parametrize(
    "api_url",
    [
        "https://mycompany.gorgias.com:port/api",
        "https://mycompany.gorgias.com:99999/api",
        "https://my company/api",
        "https://mycompany.gorgias.com/api?",
        "https://mycompany.gorgias.com/api#",
        "https://mycompany.gorgias.com/api\n",
        " https://mycompany.gorgias.com/api",
        "https://...",
        "https://-x",
        "https://x-",
        "https://my..company/api",
        "https://.mycompany/api",
        "https://mycompany.gorgias.com:0/api",
        "https://mycompany.gorgias.com:\u0661\u0662/api",
        f"https://{'a' * 64}.com/api",
        f"https://{'a.' * 127}com/api",
        "https://999.1.1.1/api",
        "https://[::::]/api",
    ],
)
def test_an_api_url_that_no_request_can_be_made_of_is_refused_before_the_first(api_url: str) -> None:
    with pytest.raises(InvalidUri):
        check_api_url(api_url)
