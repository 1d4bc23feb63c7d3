//! Who says something, as they say.

/// So many characters of a name are taken; a longer one is refused.
const NAME_CHARS_MAX: usize = 100;

/// A name that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name has more than {NAME_CHARS_MAX} characters, or one that is no text")]
pub(crate) struct BadName;

/// A name as it is kept: what would move the cursor of a terminal is no text.
pub(crate) fn name(by: Option<String>) -> Result<Option<String>, BadName> {
    let Some(by) = by else {
        return Ok(None);
    };
    let by = by.trim();
    let is_long = by.chars().count() > NAME_CHARS_MAX;
    match is_long || by.chars().any(char::is_control) {
        true => Err(BadName),
        false => Ok((!by.is_empty()).then(|| by.to_owned())),
    }
}
