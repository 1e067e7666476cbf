"""What is cut out of free text and what is not, and which names of properties are personal."""

from __future__ import annotations

import pytest
from misoflow.privacy import Urls, has_contact, text_of, without_contacts
from misoflow.values import is_personal

REACH_SOMEBODY = """
+12025550186
+49 (0)30 123456
+1-202-555-0186
+86 138 0013 8000
+33\u00a01\u00a023\u00a045\u00a067\u00a089
0049 30 123456
(202) 555-0186
(030) 1234567
202-555-0186
202.555.0186
1 202 555 0186
0171 1234567
030/1234567
089-1234567
01 23 45 67 89
020 7946 0958
03\u20111234\u20115678
81.2.69.142
203.0.113.9
2001:db8::1
2a00:1450:4001:82a:0:0:0:200e
jane@mail.example
jane%2540mail.example
""".strip().splitlines()
HARMLESS = """
5550186
2025550186
01701234567
4006381333931
978-3-16-148410-0
0-306-40615-2
2024-05-06 07:08:09
01.02.2024 12.30
05/12/2024 1230
2026-02-23T22:28:55.111Z
1,234,567.00
1 234 567,00
1.234.567,00
$1,299.99 - $2,499.99
500-1000
100-200-3000
0012-345678
112-1234567-1234567
SKU 000123-456
01234567-0123-4123-8123-012345678901
GA1.2.123456789.1234567890
12:30:45 16:9
aa:bb:cc:dd:ee:ff
bad::bee std::vector
v10.0.0.1 and 1.2.3
8.8.8.0
Film (2024) 1080 1920
52.5200066 13.404954
Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.1 Safari/537.36
Mozilla/5.0 (iPhone; CPU iPhone OS 17_4_1 like Mac OS X) AppleWebKit/605.1.15 [FBAV/450.0.0.38.108;FBBV/564431005]
""".strip().splitlines()


@pytest.mark.parametrize("contact", REACH_SOMEBODY)
def test_what_reaches_a_person_is_cut_out_of_texts(contact: str) -> None:
    assert without_contacts(contact) == ""
    assert without_contacts(f"gift of {contact}, blue") == "gift of , blue"
    assert text_of(f"Tel:{contact}") in ("Tel:", None)
    assert has_contact(f" {contact}")


@pytest.mark.parametrize("text", HARMLESS)
def test_other_numbers_stay(text: str) -> None:
    assert without_contacts(text) == text
    assert without_contacts(f"size {text} blue") == f"size {text} blue"
    assert not has_contact(f" {text} ")


def test_urls_lose_contacts_but_no_product_numbers() -> None:
    read = Urls(("q", "page")).read
    contacts = "q=%2B12025550186&page=81.2.69.142&utm_term=202-555-0186&utm_source=news"
    assert (
        read(f"https://shop.example/u/+12025550186/x?{contacts}").clean == "https://shop.example/u//x?utm_source=news"
    )
    url = "https://shop.example/p/202-555-0186/1.2.3.4?q=978-3-16-148410-0&page=2"
    assert read(url).clean == url


PERSONAL = """
email E-Mail eMail PHONE phoneNumber phone_2 userPhone customeremail name customer.name $.properties.user.firstName
shipping_address zip ip IPAddress clientIP accessToken api_key Password address_line_1 dob
""".strip().split()
OTHERS = """
store_name product_name store_address email_template phone_model headphone smartphone membership trip plan vip city
is_mobile q page_id token_count
""".strip().split()


@pytest.mark.parametrize(("names", "personal"), [(PERSONAL, True), (OTHERS, False), (["", "_", "1"], False)])
def test_personal_names(names: list[str], personal: bool) -> None:
    assert [name for name in names if is_personal(name) is not personal] == []
