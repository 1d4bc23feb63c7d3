//! What the traces of each language look like.

use std::sync::LazyLock;

use super::super::needles::Needles;

/// What a line that begins a trace holds. Most lines hold none of these, and one search says so.
const HEADS: [&str; 9] = [
    "Exception",
    "Error",
    "Throwable",
    "Traceback (most recent call last):",
    "panic: ",
    "fatal error: ",
    "goroutine ",
    "panicked at ",
    "PRIVATE KEY-----",
];

static SEARCH: LazyLock<Needles> = LazyLock::new(|| Needles::new(&HEADS));

/// Where in a trace its next line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Behind an exception's name and message, or a frame: Java, Kotlin, C#, Node.
    Frames,
    /// Within the properties that Node prints behind the frames, up to a brace that closes them.
    Properties,
    /// Behind a title of Python, among indented lines, up to the exception's name and message.
    Traceback,
    /// Behind these, where another traceback may follow that this one came of.
    TracebackEnded,
    /// Behind the message of a Go panic.
    Panic,
    /// Within a goroutine's calls.
    Goroutine,
    /// Behind the place of a Rust panic: its message is next.
    PanicPlace,
    /// Behind that message.
    PanicBody,
    /// Within a private key.
    Key,
}

/// What a line is to the trace before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It belongs to it, and more may follow.
    Continues(Shape),
    /// It is its last line.
    Ends,
    /// It does not belong to it.
    Apart,
}

impl Shape {
    /// The shape of a trace that this line may begin.
    pub(super) fn begun_by(line: &[u8]) -> Option<Shape> {
        if matches!(line.first(), Some(b' ' | b'\t')) && is_frame(line) {
            return Some(Shape::Frames);
        }
        SEARCH.all(line).find_map(|hit| {
            let rest = &line[hit.end..];
            let at_start = hit.start == 0;
            match HEADS[hit.needle] {
                "Exception" | "Throwable" | "Error" => ends_name(rest).then_some(Shape::Frames),
                "Traceback (most recent call last):" => Some(Shape::Traceback),
                "panic: " | "fatal error: " => at_start.then_some(Shape::Panic),
                "goroutine " => (at_start && is_goroutine(line)).then_some(Shape::Goroutine),
                "panicked at " => begins_with(line, b"thread '").then(|| rust(line)),
                _ => is_key_begin(line).then_some(Shape::Key),
            }
        })
    }

    /// What the line is to a trace of this shape.
    pub(super) fn next(self, line: &[u8]) -> Next {
        let shape = match self {
            Shape::Frames => frames(line),
            Shape::Properties => match line.first() {
                Some(b' ' | b'\t') => Some(Shape::Properties),
                Some(b'}') => Some(Shape::Frames),
                _ => None,
            },
            Shape::Traceback => traceback(line),
            Shape::TracebackEnded => traceback_ended(line),
            Shape::Panic => panic(line),
            Shape::Goroutine => goroutine(line),
            Shape::PanicPlace => Some(Shape::PanicBody),
            Shape::PanicBody => panic_body(line),
            Shape::Key => return key(line),
        };
        match shape {
            Some(shape) => Next::Continues(shape),
            None => Next::Apart,
        }
    }
}

fn begins_with(line: &[u8], prefix: &[u8]) -> bool {
    line.starts_with(prefix)
}

/// Behind an exception's name: the end, its message, Node's code, or `in thread "main"` before the whole name.
fn ends_name(rest: &[u8]) -> bool {
    let follows: [&[u8]; 3] = [b":", b" [", b" in thread "];
    rest.is_empty() || follows.iter().any(|follows| rest.starts_with(follows))
}

/// `\tat a.B.c(D.java:1)`, `    at c (/d.js:1:2)`, `   --- End of inner exception stack trace ---`; not yet trimmed.
fn is_frame(line: &[u8]) -> bool {
    let trimmed = line.trim_ascii_start();
    begins_with(trimmed, b"at ") || begins_with(trimmed, b"--- End of ")
}

fn frames(line: &[u8]) -> Option<Shape> {
    let continues = match line.first()? {
        b' ' | b'\t' => {
            let trimmed = line.trim_ascii_start();
            is_frame(line)
                || begins_with(trimmed, b"Suppressed: ")
                || begins_with(trimmed, b"Caused by: ")
                || begins_with(trimmed, b"[cause]: ")
                || is_elided(trimmed)
        }
        b'C' => begins_with(line, b"Caused by: "),
        b'.' => is_elided(line),
        _ => false,
    };
    match continues {
        true if line.ends_with(b" {") => Some(Shape::Properties),
        true => Some(Shape::Frames),
        false => None,
    }
}

/// `... 12 more` or `... 12 common frames omitted`
fn is_elided(trimmed: &[u8]) -> bool {
    let count = trimmed.strip_prefix(b"... ");
    count.is_some_and(|count| count.first().is_some_and(u8::is_ascii_digit))
}

fn traceback(line: &[u8]) -> Option<Shape> {
    match line.first()? {
        b' ' | b'\t' => Some(Shape::Traceback),
        _ => is_exception(line).then_some(Shape::TracebackEnded),
    }
}

/// `ValueError: no` or `KeyboardInterrupt`
fn is_exception(line: &[u8]) -> bool {
    let in_name = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    let len = line.iter().take_while(in_name).count();
    len > 0 && matches!(line.get(len), None | Some(b':'))
}

fn traceback_ended(line: &[u8]) -> Option<Shape> {
    if line.is_empty()
        || begins_with(line, b"During handling of the above exception")
        || begins_with(line, b"The above exception was the direct cause")
    {
        return Some(Shape::TracebackEnded);
    }
    begins_with(line, b"Traceback (most recent call last):").then_some(Shape::Traceback)
}

fn panic(line: &[u8]) -> Option<Shape> {
    if is_goroutine(line) {
        return Some(Shape::Goroutine);
    }
    let continues = match line.first() {
        None | Some(b'\t') => true,
        Some(b'[') => begins_with(line, b"[signal "),
        Some(b'p') => begins_with(line, b"panic: "),
        Some(_) => false,
    };
    continues.then_some(Shape::Panic)
}

/// `goroutine 1 [running]:`
fn is_goroutine(line: &[u8]) -> bool {
    let number = line.strip_prefix(b"goroutine ");
    number.is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit)) && line.ends_with(b"]:")
}

fn goroutine(line: &[u8]) -> Option<Shape> {
    let continues = match line.first() {
        None | Some(b'\t') => true,
        Some(b'g') if is_goroutine(line) => true,
        Some(b'c') if begins_with(line, b"created by ") => true,
        Some(b'.') => begins_with(line, b"...additional frames elided"),
        Some(b'e') if begins_with(line, b"exit status ") => true,
        Some(_) => is_call(line),
    };
    continues.then_some(Shape::Goroutine)
}

/// `main.(*Server).run(0xc000010000, {0x1, 0x2})`: a package, and no blank before the first bracket.
fn is_call(line: &[u8]) -> bool {
    let named = line.iter().position(|byte| matches!(byte, b' ' | b'('));
    named.is_some_and(|at| line[at] == b'(' && line[..at].contains(&b'.')) && line.ends_with(b")")
}

/// Since Rust 1.73 the message is on a line of its own.
fn rust(head: &[u8]) -> Shape {
    match head.last() {
        Some(b':') => Shape::PanicPlace,
        _ => Shape::PanicBody,
    }
}

fn panic_body(line: &[u8]) -> Option<Shape> {
    let continues = match line.first()? {
        b' ' | b'\t' => true,
        b'n' => begins_with(line, b"note: "),
        b's' => begins_with(line, b"stack backtrace:"),
        _ => false,
    };
    continues.then_some(Shape::PanicBody)
}

fn is_key_begin(line: &[u8]) -> bool {
    begins_with(line, b"-----BEGIN ") && line.ends_with(b" PRIVATE KEY-----")
}

/// A line of base64, or of the headers before it (RFC 1421, section 4.4).
fn key(line: &[u8]) -> Next {
    if begins_with(line, b"-----END ") {
        return Next::Ends;
    }
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let header = begins_with(line, b"Proc-Type: ") || begins_with(line, b"DEK-Info: ");
    match header || line.iter().all(base64) {
        true => Next::Continues(Shape::Key),
        false => Next::Apart,
    }
}
