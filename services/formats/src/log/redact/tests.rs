use super::*;
use proptest::prelude::*;

fn all() -> Redactor {
    Redactor::new(&Rules {
        emails: Switch::On,
        cards: Switch::On,
        ..Rules::default()
    })
    .unwrap()
}

fn redacted(redactor: &Redactor, text: &str) -> (String, u32) {
    let (out, count) = redactor.redact(Cow::Borrowed(text.as_bytes()));
    (String::from_utf8(out.into_owned()).unwrap(), count)
}

/// A text without its `~`, which keep scanners of source code from taking what looks like a secret for one.
fn plain(text: &str) -> String {
    text.replace('~', "")
}

#[test]
fn secrets_in_the_wild() {
    let redactor = Redactor::new(&Rules::default()).unwrap();
    for (text, expected) in [
        (
            "key AK~IAIOSFODNN7EXAMPLE used",
            "key [redacted:aws-key] used",
        ),
        (
            "push with gh~p_0123456789abcdefghij0123456789abcdef!",
            "push with [redacted:github-token]!",
        ),
        (
            "github~_pat_11ABCDEFG0123456789_abc",
            "[redacted:github-token]",
        ),
        ("glp~at-abcdefghij0123456789", "[redacted:gitlab-token]"),
        ("xo~xb-123456789012-abcdef", "[redacted:slack-token]"),
        (
            "POST https://hooks.~slack.com/services/T00000000/B00000000/XXXX 200",
            "POST https://hooks.slack.com/[redacted:slack-token] 200",
        ),
        (
            "AI~zaSyA0123456789abcdefghijklmnopqrstu_",
            "[redacted:google-key]",
        ),
        ("sk~_live_0123456789abcdef", "[redacted:stripe-key]"),
        (
            "cookie=ey~JhbGciOiJI.eyJzdWIiOiIx.c2ln-_x; path=/",
            "cookie=[redacted:jwt]; path=/",
        ),
        (
            "Authorization: Bearer abc.def",
            "Authorization: Bearer [redacted:authorization]",
        ),
        (
            r#"{"authorization":"Basic dTpw","x":1}"#,
            r#"{"authorization":"Basic [redacted:authorization]","x":1}"#,
        ),
        (
            "map[Authorization:[Bearer abc]]",
            "map[Authorization:[Bearer [redacted:authorization]]]",
        ),
        (
            "-H bearer 0123456789abcdef",
            "-H bearer [redacted:authorization]",
        ),
        (
            "user=a password=b c=d",
            "user=a password=[redacted:password] c=d",
        ),
        (
            "DB_PASSWORD=\"b \\\" c\" x",
            "DB_PASSWORD=\"[redacted:password]\" x",
        ),
        (
            "{'passwd': 'b', 'y': 1}",
            "{'passwd': '[redacted:password]', 'y': 1}",
        ),
        (
            r#"{"client_secret":"b","y":1}"#,
            r#"{"client_secret":"[redacted:secret]","y":1}"#,
        ),
        (
            r#"{"m":"{\"token\":\"b\",\"y\":1}"}"#,
            r#"{"m":"{\"token\":\"[redacted:token]\",\"y\":1}"}"#,
        ),
        (
            r#"{"tokens":1,"token":["b"]}"#,
            r#"{"tokens":1,"token":["[redacted:token]"]}"#,
        ),
        (
            r#"{"msg":"password=b"}"#,
            r#"{"msg":"password=[redacted:password]"}"#,
        ),
        (
            "GET /?access_token=b&x=1",
            "GET /?access_token=[redacted:token]&x=1",
        ),
        ("X-Api-Key: b", "X-Api-Key: [redacted:api-key]"),
        ("X-Vault-Token: b", "X-Vault-Token: [redacted:token]"),
        (
            "AWS_SECRET_ACCESS_KEY=b",
            "AWS_SECRET_ACCESS_KEY=[redacted:secret]",
        ),
        (":password => \"b\"", ":password => \"[redacted:password]\""),
        (
            "postgres://u:p@ss@db:5432/x",
            "postgres://u:[redacted:url-password]@db:5432/x",
        ),
        (
            "https://gh~p_0123456789abcdefghij@github.com",
            "https://[redacted:github-token]@github.com",
        ),
        (
            "k -----BEGIN RSA PRIVATE~ KEY-----\nMII\n-----END RSA PRIVATE~ KEY----- x",
            "k [redacted:private-key] x",
        ),
        (
            "-----BEGIN PRIVATE~ KEY-----\nMII",
            "[redacted:private-key]",
        ),
    ] {
        let text = plain(text);
        assert_eq!(
            redacted(&redactor, &text),
            (expected.to_owned(), 1),
            "{text}"
        );
        assert_eq!(
            redactor.may_match(text.as_bytes()),
            Verdict::Suspicious,
            "{text}"
        );
    }
}

#[test]
fn what_is_no_secret_stays_and_is_not_copied() {
    let redactor = all();
    for text in [
        "GET https://example.com/a?b=c 200",
        "unexpected token: x",
        "the secret: do not tell",
        "max_tokens=5 broken=1 spoken=x wearer 0123456789abcdef",
        "password= next",
        "password=**** token=null {\"token\": null, \"secret\": false}",
        "Authorization: required",
        "AKIA is four letters, AKIAIOSFODNN7EXAMPLEX one too many",
        "eyJ",
        "PRIVATE KEY",
        "-----BEGIN CERTIFICATE-----",
        "ssh user@host and repo@sha256:abc and pkg@1.2.3",
        "at 1767323045678901234 ns, 2026-01-02 03-04-05 678901",
        "4111 1111 1111 1112 and 0.4111111111111111 and x4111111111111111",
        "http://[::1]:80/@",
    ] {
        let (out, count) = redactor.redact(Cow::Borrowed(text.as_bytes()));
        assert_eq!((String::from_utf8_lossy(&out).as_ref(), count), (text, 0));
        assert!(matches!(out, Cow::Borrowed(_)), "{text}");
    }
    for text in [
        "GET https://example.com/a?b=c 200 unexpected token, no secrets",
        "2026-01-02 03:04:05",
    ] {
        assert_eq!(
            redactor.may_match(text.as_bytes()),
            Verdict::Clean,
            "{text}"
        );
    }
}

#[test]
fn personal_data_is_redacted_on_request() {
    for (text, expected) in [
        (
            "mail to <a.b+c@example.co.uk>.",
            "mail to <[redacted:email]>.",
        ),
        ("card 4111 1111 1111 1111 paid", "card [redacted:card] paid"),
        ("card=5555-5555-5555-4444,", "card=[redacted:card],"),
        ("7 378282246310005", "7 [redacted:card]"),
    ] {
        assert_eq!(redacted(&all(), text), (expected.to_owned(), 1));
        assert_eq!(all().may_match(text.as_bytes()), Verdict::Suspicious);
        let usual = Redactor::new(&Rules::default()).unwrap();
        assert_eq!(redacted(&usual, text), (text.to_owned(), 0));
    }
}

#[test]
fn several_are_counted_and_those_that_overlap_are_one() {
    let text = "password=a token=b ://u:password=c@d.org";
    let expected =
        "password=[redacted:password] token=[redacted:token] ://u:[redacted:url-password]";
    assert_eq!(redacted(&all(), text), (expected.to_owned(), 3));
}

fn with_extra(patterns: &[&str]) -> Result<Redactor, RedactError> {
    Redactor::new(&Rules {
        extra: patterns
            .iter()
            .map(|pattern| (*pattern).to_owned())
            .collect(),
        ..Rules::default()
    })
}

#[test]
fn patterns_of_the_operator_are_checked_and_followed() {
    let redactor = with_extra(&["cust-[0-9]+", "[a-z]+day"]).unwrap();
    let once = redacted(&redactor, "cust-17 on monday password=x");
    let expected = "[redacted:pattern] on [redacted:pattern] password=[redacted:password]";
    assert_eq!(once, (expected.to_owned(), 3));
    assert_eq!(redactor.may_match(b"anything"), Verdict::Suspicious);
    let greedy = with_extra(&["[a-z]+"]).unwrap();
    assert_eq!(
        redacted(&greedy, "[redacted:jwt]"),
        ("[redacted:jwt]".to_owned(), 0)
    );
    for (pattern, message) in [
        ("(a", "(a"),
        ("a*", "empty"),
        ("(\\w{100}){1000}", "cannot be used"),
    ] {
        let fault = with_extra(&["fine", pattern]).unwrap_err().to_string();
        assert!(fault.contains(message), "{fault}");
    }
    let many = vec!["a"; EXTRA_MAX + 1];
    assert!(
        matches!(with_extra(&many), Err(RedactError::TooMany { count }) if count == EXTRA_MAX + 1)
    );
}

/// A text as it stands in a file of `json-file`.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '<' | '>' | '&' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// Texts made of what the rules look for.
fn near() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[ \"'\\\\:=,;&@/.<>\t\n\\[\\]{}*_-]",
        "[a-zA-Z0-9]{1,3}",
        "(password|Secret|access_token|api-key|API_KEY|uthorization|Bearer |Basic |null|://|://u:p@|a@b\\.cd|@b\\.cd)",
        "(eyJ|eyJa\\.eyJb\\.c|PRIVATE KEY|4111 1111 1111 1111|5555555555554444|[0-9]{4} |[0-9]{13,20})",
        "AKIA[A-Z0-9]{15,17}",
        "ghp_[a-zA-Z0-9_-]{19,22}",
        "hooks\\.slack\\.com/[a-z/\\\\]{18,22}",
        "\\[redacted:[a-z-]{1,8}\\]",
        Just("-----BEGIN PRIVATE KEY-----".to_owned()),
        Just("-----END PRIVATE KEY-----".to_owned()),
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_was_redacted_stays_so(text in near()) {
        let redactor = all();
        let once = redacted(&redactor, &text).0;
        prop_assert_eq!(redacted(&redactor, &once), (once, 0));
    }

    #[test]
    fn no_line_of_a_clean_chunk_is_redacted(text in near()) {
        let redactor = all();
        if redacted(&redactor, &text).1 > 0 {
            prop_assert_eq!(redactor.may_match(text.as_bytes()), Verdict::Suspicious);
            prop_assert_eq!(redactor.may_match(escaped(&text).as_bytes()), Verdict::Suspicious);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (out, count) = all().redact(Cow::Borrowed(&text));
        prop_assert!(count > 0 || *out == *text);
        all().may_match(&text);
    }

    #[test]
    fn a_secret_is_found_wherever_it_stands(before in "[a-z .\"]{0,20}[ \"=]", behind in "[ \",].{0,20}") {
        let secret = plain("gh~p_0123456789abcdefghij0123456789");
        let out = redacted(&all(), &format!("{before}{secret}{behind}")).0;
        prop_assert!(!out.contains(&secret));
    }
}
