//! What the small containers of the end-to-end tests run: one static binary, built by `rustc` alone, that writes lines whose
//! numbers can be checked, or ends, or burns CPU, as its first argument says.

use std::io::{Write, stdout};
use std::path::Path;
use std::time::{Duration, Instant};

/// Made by `writer go` in the same container.
const GO: &str = "/go";
/// There once all lines but the last are written.
const WRITTEN: &str = "/written";
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A writer that is ahead by less does not pause: pauses are longer than asked for.
const AHEAD: Duration = Duration::from_millis(5);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize| {
        let word = args.get(index).expect("one more number");
        word.parse::<u32>().expect("a number")
    };
    match args.first().map(String::as_str) {
        // Lines numbered from 0: how many, bytes of each, how many a second.
        Some("lines") => lines(number(1), number(2), number(3)),
        // The same, then one more line once it may go on; idles after that.
        Some("burst") => {
            lines(number(1), number(2), number(3));
            std::fs::write(WRITTEN, "").expect("the container's root is writable");
            wait_for(GO);
            line(number(1), number(2));
            idle();
        }
        Some("written") => std::process::exit(i32::from(!Path::new(WRITTEN).exists())),
        Some("go") => std::fs::write(GO, "").expect("the container's root is writable"),
        // One line with its number, then the end with an exit code.
        Some("once") => {
            line(number(1), 0);
            std::process::exit(i32::try_from(number(2)).expect("an exit code"));
        }
        Some("spin") => spin(),
        Some("idle") => idle(),
        other => panic!("unknown order {other:?}"),
    }
}

/// Standard output writes each line at once, so what was written is in the engine's hands when this process ends.
fn line(number: u32, bytes: u32) {
    let mut text = format!("{number:06} ");
    let fill = usize::try_from(bytes)
        .expect("a width")
        .saturating_sub(text.len() + 1);
    text.extend(noise(number).take(fill));
    writeln!(stdout(), "{text}").expect("standard output is open");
}

/// Letters and digits that no compression makes much less of, the same for the same number (Marsaglia's xorshift64).
fn noise(number: u32) -> impl Iterator<Item = char> {
    let mut state = u64::from(number) << 1 | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Below 36, so a digit in that base.
        let digit = u32::try_from((state >> 32) % 36).unwrap_or_default();
        char::from_digit(digit, 36).unwrap_or('0')
    })
}

fn lines(count: u32, bytes: u32, per_second: u32) {
    let began = Instant::now();
    for number in 0..count {
        let due = Duration::from_secs_f64(f64::from(number) / f64::from(per_second));
        let ahead = due.saturating_sub(began.elapsed());
        if ahead > AHEAD {
            std::thread::sleep(ahead);
        }
        line(number, bytes);
    }
}

fn wait_for(path: &str) {
    while !Path::new(path).exists() {
        std::thread::sleep(LOOK_EVERY);
    }
}

fn spin() -> ! {
    let mut sum = 0_u64;
    loop {
        sum = std::hint::black_box(sum.wrapping_mul(31) + 1);
    }
}

fn idle() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}
