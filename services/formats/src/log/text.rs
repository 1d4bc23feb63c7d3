//! Text out of bytes that may be none.

use std::borrow::Cow;

/// The bytes as text. Where they are not UTF-8, each faulty sequence is U+FFFD in the text, and the bytes as they were are
/// given beside it, so that nothing is lost.
pub fn recoverable(bytes: Cow<'_, [u8]>) -> (Cow<'_, str>, Option<Vec<u8>>) {
    match bytes {
        Cow::Borrowed(bytes) => match String::from_utf8_lossy(bytes) {
            Cow::Borrowed(text) => (Cow::Borrowed(text), None),
            Cow::Owned(text) => (Cow::Owned(text), Some(bytes.to_vec())),
        },
        Cow::Owned(bytes) => match String::from_utf8(bytes) {
            Ok(text) => (Cow::Owned(text), None),
            Err(fault) => {
                let bytes = fault.into_bytes();
                let text = String::from_utf8_lossy(&bytes).into_owned();
                (Cow::Owned(text), Some(bytes))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn faulty_bytes_stand_beside_the_text() {
        let (text, raw) = recoverable(Cow::Borrowed(b"caf\xe9 ok"));
        assert_eq!(text, "caf\u{fffd} ok");
        assert_eq!(raw.unwrap(), b"caf\xe9 ok");
        let (text, raw) = recoverable(Cow::Borrowed("café".as_bytes()));
        assert!(matches!(text, Cow::Borrowed("café")));
        assert_eq!(raw, None);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let borrowed = recoverable(Cow::Borrowed(&bytes));
            let owned = recoverable(Cow::Owned(bytes.clone()));
            prop_assert_eq!(&borrowed, &owned);
            let (text, raw) = borrowed;
            prop_assert_eq!(raw.unwrap_or_else(|| text.as_bytes().to_vec()), bytes);
        }
    }
}
