//! Whom a commit is said to be by.

use thiserror::Error;

/// Longest name, in characters.
const MAX_NAME: usize = 100;
/// Longest address, in characters; no mail server takes a longer one.
const MAX_EMAIL: usize = 254;

/// The author of a commit, as git shows it. The token's user commits it all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    name: String,
    email: String,
}

/// Why nobody can be named so.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuthorError {
    /// No name.
    #[error("name: write 1 to 100 characters without < and >, on one line")]
    Name,
    /// No address.
    #[error("email: write an address like ci@example.com")]
    Email,
}

impl Author {
    /// Takes a name and an address that git keeps as they are.
    ///
    /// # Errors
    /// Says which of the two it does not take.
    pub fn new(name: &str, email: &str) -> Result<Self, AuthorError> {
        let plain = |text: &str| !text.contains(|c: char| c.is_control() || matches!(c, '<' | '>'));
        let name = name.trim();
        if !(1..=MAX_NAME).contains(&name.chars().count()) || !plain(name) {
            return Err(AuthorError::Name);
        }
        let parts: Vec<&str> = email.split('@').collect();
        let is_address = parts.len() == 2 && parts.iter().all(|part| !part.is_empty());
        if !is_address || !plain(email) || email.contains(char::is_whitespace) || email.len() > MAX_EMAIL {
            return Err(AuthorError::Email);
        }
        Ok(Self { name: name.to_owned(), email: email.to_owned() })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address.
    #[must_use]
    pub fn email(&self) -> &str {
        &self.email
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_an_address_are_taken_as_git_keeps_them() {
        let author = Author::new(" Build bot ", "bot@example.com").unwrap();
        assert_eq!((author.name(), author.email()), ("Build bot", "bot@example.com"));
        for (name, email, error) in [
            ("", "a@b", AuthorError::Name),
            ("a <b>", "a@b", AuthorError::Name),
            ("a\nb", "a@b", AuthorError::Name),
            ("a", "", AuthorError::Email),
            ("a", "a", AuthorError::Email),
            ("a", "@b", AuthorError::Email),
            ("a", "a@b@c", AuthorError::Email),
            ("a", "a b@c", AuthorError::Email),
            ("a", "a@b>", AuthorError::Email),
        ] {
            assert_eq!(Author::new(name, email), Err(error), "{name} {email}");
        }
    }
}
