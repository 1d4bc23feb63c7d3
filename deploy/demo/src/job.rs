//! A job: it works for some seconds and ends well, as a cron job or a backup does.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::args::{Options, UsageError};
use crate::illness::{self, MAX_BURN_MILLICORES, MAX_WRITE_MB_PER_S};
use crate::sys;

/// Longest job.
const MAX_SECONDS: u64 = 3600;
const DEFAULT_SECONDS: u64 = 10;
/// Where a job writes.
const DATA_FILE: &str = "/job.data";
/// How often it looks whether it is to end, and how often it tells how far it is.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS_PER_LOG_LINE: u64 = 10;

/// Works until its time is over or TERM comes.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let seconds = number(options, "seconds", DEFAULT_SECONDS, MAX_SECONDS)?;
    let burn = number(options, "burn-millicores", 0, MAX_BURN_MILLICORES)?;
    let write = number(options, "write-mb-per-s", 0, MAX_WRITE_MB_PER_S)?;
    println!("INFO job started, {seconds} s");
    illness::burn(&Arc::new(AtomicU64::new(burn)));
    illness::write(&Arc::new(AtomicU64::new(write)), PathBuf::from(DATA_FILE));
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut looks = 0_u64;
    while Instant::now() < end && !sys::termination_requested() {
        thread::sleep(LOOK);
        looks += 1;
        if looks.is_multiple_of(LOOKS_PER_LOG_LINE) {
            println!("INFO part {} of the job done", looks / LOOKS_PER_LOG_LINE);
        }
    }
    println!("INFO job ended");
    Ok(())
}

fn number(options: &Options, name: &str, default: u64, most: u64) -> Result<u64, UsageError> {
    let value = options.number(name, default)?;
    if value > most {
        return Err(UsageError::new(format!(
            "option '--{name}': at most {most}"
        )));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_beyond_what_a_host_can_do_are_refused() {
        let words = ["--seconds".to_owned(), "4000".to_owned()];
        let options = Options::parse(&words, &["seconds"]).unwrap();
        assert!(number(&options, "seconds", 1, MAX_SECONDS).is_err());
        assert_eq!(number(&options, "seconds", 1, 5000), Ok(4000));
    }
}
