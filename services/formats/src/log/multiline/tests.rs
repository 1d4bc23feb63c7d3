use super::*;
use proptest::prelude::*;

fn line(text: &str, stream: LogStream, mark: usize) -> Joined<'_, usize> {
    Joined {
        text: Cow::Borrowed(text.as_bytes()),
        stream,
        at_unix_ns: mark as i64,
        mark,
        cut_bytes: 1,
    }
}

/// The groups that a text's lines make, flushed at the end.
fn groups(text: &str) -> Vec<(String, u32)> {
    let mut merger = Merger::default();
    let mut out = Vec::new();
    for (mark, text) in text.split('\n').enumerate() {
        out.extend(
            merger
                .push(line(text, LogStream::Stderr, mark), 0)
                .map(told),
        );
    }
    out.extend(merger.flush().map(told));
    out
}

fn told(merged: Merged<'_, usize>) -> (String, u32) {
    assert_eq!(merged.cut_bytes, merged.lines as usize);
    (
        String::from_utf8(merged.text.into_owned()).unwrap(),
        merged.lines,
    )
}

const JAVA: &str = "java.lang.IllegalStateException: no
\tat a.B.c(B.java:1)
\tat a.B.main(B.java:2)
\tSuppressed: java.io.IOException: shut
\t\tat a.B.d(B.java:3)
Caused by: a.NotFound: gone
\tat a.B.e(B.java:4)
\t... 12 more";

const JAVA_THREAD: &str = "Exception in thread \"main\" java.lang.RuntimeException
\tat a.B.main(B.java:2)";

const CSHARP: &str = "Unhandled exception. System.InvalidOperationException: no
   at A.B.C() in /src/B.cs:line 3
   --- End of inner exception stack trace ---
   at A.B.Main()";

const NODE: &str = "2026-01-02 request failed Error: connect ECONNREFUSED 127.0.0.1:5432
    at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1555:16) {
  errno: -111,
  code: 'ECONNREFUSED'
}";

const PYTHON: &str = "Traceback (most recent call last):
  File \"a.py\", line 1, in <module>
    x()
    ~^^
KeyError: 'x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File \"a.py\", line 3, in <module>
ValueError: no";

const GO: &str = "panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x1]

goroutine 1 [running]:
main.(*Server).run(0xc000010000, {0x1, 0x2})
\t/src/main.go:12 +0x1d
created by main.main in goroutine 7
\t/src/main.go:3 +0x1d

goroutine 18 [select, 2 minutes]:
runtime.gopark(0x1)
\t/go/proc.go:398 +0xce
exit status 2";

const RUST: &str = "thread 'main' panicked at src/main.rs:2:5:
assertion `left == right` failed
  left: 1
 right: 2
stack backtrace:
   0: rust_begin_unwind
             at /rustc/1/library/std/src/panicking.rs:1:5
note: Some details are omitted, run with `RUST_BACKTRACE=full`.";

const RUST_OLD: &str = "thread 'main' panicked at 'no', src/main.rs:2:5
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace";

const KEY: &str = "-----BEGIN RSA PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED

MIIEpAIBAAKCAQEA+/==
-----END RSA PRIVATE KEY-----";

const TRACES: [&str; 9] = [
    JAVA,
    JAVA_THREAD,
    CSHARP,
    NODE,
    PYTHON,
    GO,
    RUST,
    RUST_OLD,
    KEY,
];

#[test]
fn each_trace_is_one_line_among_others() {
    for trace in TRACES {
        let lines = trace.split('\n').count() as u32;
        let text = format!("INFO before\n{trace}\nINFO behind");
        let expected = [("INFO before", 1), (trace, lines), ("INFO behind", 1)];
        let expected = expected.map(|(text, lines)| (text.to_owned(), lines));
        assert_eq!(groups(&text), expected);
    }
}

#[test]
fn one_trace_behind_another_is_another() {
    for first in TRACES {
        for second in [JAVA, RUST, KEY] {
            let expected =
                [first, second].map(|text| (text.to_owned(), text.split('\n').count() as u32));
            assert_eq!(groups(&format!("{first}\n{second}")), expected);
        }
    }
}

#[test]
fn ordinary_lines_pass_at_once_and_uncopied() {
    let mut merger = Merger::default();
    for text in [
        "",
        "GET / 200",
        "  indented",
        "no panic: here",
        "an Errors count",
        "at noon",
        "{",
        "Caused by: rain",
    ] {
        let given: Vec<_> = merger.push(line(text, LogStream::Stdout, 0), 0).collect();
        let [merged] = &given[..] else {
            panic!("{text}: {given:?}")
        };
        assert!(matches!(merged.text, Cow::Borrowed(_)), "{text}");
        assert_eq!((merged.lines, merger.oldest()), (1, None), "{text}");
    }
}

#[test]
fn streams_do_not_mix_and_marks_are_held() {
    let mut merger = Merger::default();
    assert_eq!(
        merger
            .push(line("a.Exception: x", LogStream::Stderr, 1), 0)
            .count(),
        0
    );
    assert_eq!(
        merger.push(line("plain", LogStream::Stdout, 2), 0).count(),
        1
    );
    assert_eq!(
        merger
            .push(line("\tat a.b(c)", LogStream::Stdout, 3), 0)
            .count(),
        0
    );
    assert_eq!(
        merger
            .push(line("\tat d.e(f)", LogStream::Stderr, 4), 0)
            .count(),
        0
    );
    assert_eq!(merger.oldest(), Some(1));
    let told: Vec<_> = merger
        .flush()
        .map(|merged| (merged.mark, merged.lines))
        .collect();
    assert_eq!(told, [(1, 2), (3, 1)]);
    assert_eq!(merger.oldest(), None);
}

#[test]
fn what_waits_too_long_is_given() {
    let mut merger = Merger::default();
    merger.push(line("a.Exception: x", LogStream::Stderr, 1), 1_000);
    assert_eq!(merger.expire(1_000 + HOLD_MS - 1).count(), 0);
    assert_eq!(merger.expire(1_000 + HOLD_MS).count(), 1);
    merger.push(line("a.Exception: x", LogStream::Stderr, 2), 0);
    for now_ms in 1..HOLD_ALL_MS / 100 {
        merger.push(line("\tat a.b(c)", LogStream::Stderr, 3), now_ms * 100);
        assert_eq!(merger.expire(now_ms * 100).count(), 0);
    }
    merger.push(line("\tat a.b(c)", LogStream::Stderr, 3), HOLD_ALL_MS);
    assert_eq!(merger.expire(HOLD_ALL_MS).count(), 1);
}

#[test]
fn an_endless_trace_is_given_in_parts() {
    let frames = "\n\tat a.b(c)".repeat(2 * MERGED_LINES_MAX as usize);
    let counts: Vec<u32> = groups(&format!("a.Exception: x{frames}"))
        .iter()
        .map(|group| group.1)
        .collect();
    assert_eq!(counts, [MERGED_LINES_MAX, MERGED_LINES_MAX, 1]);
    let wide = format!("\n\tat {}", "x".repeat(30_000)).repeat(5);
    let counts: Vec<u32> = groups(&format!("a.Exception: x{wide}"))
        .iter()
        .map(|group| group.1)
        .collect();
    assert_eq!(counts, [3, 2, 1]);
}

proptest! {
    #[test]
    fn no_line_is_lost_changed_or_moved(
        text in "(\n|x|\tat a|    at b|Error: c|a.Exception|Caused by: d|Traceback \\(most recent call last\\):|panic: e|goroutine 1 \\[x\\]:|a.b\\(\\)|thread 'm' panicked at x:|note: f|-----BEGIN PRIVATE KEY-----|-----END PRIVATE KEY-----| \\{|\\}){0,60}"
    ) {
        let groups = groups(&text);
        let joined: Vec<&str> = groups.iter().map(|group| group.0.as_str()).collect();
        prop_assert_eq!(joined.join("\n"), text);
        for (text, lines) in &groups {
            prop_assert_eq!(text.split('\n').count() as u32, *lines);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..20)) {
        let mut merger = Merger::default();
        let mut given = 0;
        for (mark, bytes) in lines.iter().enumerate() {
            let mut joined = line("", LogStream::Stdout, mark);
            joined.text = Cow::Borrowed(bytes);
            given += merger.push(joined, 0).map(|merged| merged.lines as usize).sum::<usize>();
        }
        given += merger.flush().map(|merged| merged.lines as usize).sum::<usize>();
        prop_assert_eq!(given, lines.len());
    }
}
