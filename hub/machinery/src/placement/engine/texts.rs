//! Strings by number: each distinct string, and each distinct pair of key and value, is kept once.

use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

use super::grow::push_tight;

/// The number of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Text(u32);

impl Text {
    pub(super) fn number(self) -> u32 {
        self.0
    }

    /// The string of a number that [`Text::number`] gave.
    pub(super) fn numbered(number: u32) -> Self {
        Self(number)
    }
}

/// In the place of a key: the string is not a value of one.
const NO_KEY: u32 = u32::MAX;

#[derive(Debug)]
struct Entry {
    key: u32,
    /// How many hold the number; it is given to another string once nobody does.
    holders: u32,
    text: Box<str>,
}

/// All strings that clusters consist of. Who interns a string holds it until it releases it.
#[derive(Debug, Default)]
pub(super) struct Texts {
    entries: Vec<Entry>,
    free: Vec<u32>,
    numbers: HashTable<u32>,
    /// Keys are chosen by whoever labels a cluster: the hash is seeded.
    hasher: RandomState,
    bytes: usize,
}

impl Texts {
    /// Takes hold of a string.
    pub(super) fn intern(&mut self, text: &str) -> Text {
        self.hold(NO_KEY, text)
    }

    /// Takes hold of a pair.
    pub(super) fn intern_pair(&mut self, key: &str, value: &str) -> Text {
        let key = self.hold(NO_KEY, key);
        let (pair, new) = self.hold_new(key.0, value);
        if !new {
            // The pair holds its key already.
            self.release(key);
        }
        pair
    }

    /// Lets go of what was interned.
    pub(super) fn release(&mut self, text: Text) {
        let entry = &mut self.entries[text.0 as usize];
        entry.holders -= 1;
        if entry.holders > 0 {
            return;
        }
        let hash = self.hasher.hash_one((entry.key, &*entry.text));
        if let Ok(found) = self.numbers.find_entry(hash, |number| *number == text.0) {
            found.remove();
        }
        let entry = &mut self.entries[text.0 as usize];
        self.bytes -= entry.text.len();
        entry.text = Box::default();
        let key = std::mem::replace(&mut entry.key, NO_KEY);
        self.free.push(text.0);
        if key != NO_KEY {
            self.release(Text(key));
        }
    }

    /// The number of a string that somebody holds.
    pub(super) fn find(&self, text: &str) -> Option<Text> {
        self.look_up(NO_KEY, text)
    }

    pub(super) fn find_pair(&self, key: &str, value: &str) -> Option<Text> {
        self.look_up(self.find(key)?.0, value)
    }

    /// The string, or the value of the pair.
    pub(super) fn get(&self, text: Text) -> &str {
        &self.entries[text.0 as usize].text
    }

    /// The key of a pair.
    pub(super) fn key(&self, pair: Text) -> Option<Text> {
        let key = self.entries[pair.0 as usize].key;
        (key != NO_KEY).then_some(Text(key))
    }

    /// Bytes of all strings, and bytes that are spent on keeping them.
    pub(super) fn footprint(&self) -> (usize, usize) {
        let kept = self.entries.capacity() * size_of::<Entry>()
            + self.free.capacity() * size_of::<u32>()
            + self.numbers.allocation_size();
        (self.bytes, kept)
    }

    fn look_up(&self, key: u32, text: &str) -> Option<Text> {
        let hash = self.hasher.hash_one((key, text));
        let same = |number: &u32| {
            let entry = &self.entries[*number as usize];
            entry.key == key && *entry.text == *text
        };
        self.numbers.find(hash, same).copied().map(Text)
    }

    fn hold(&mut self, key: u32, text: &str) -> Text {
        self.hold_new(key, text).0
    }

    /// Also says whether the string is new.
    fn hold_new(&mut self, key: u32, text: &str) -> (Text, bool) {
        if let Some(known) = self.look_up(key, text) {
            self.entries[known.0 as usize].holders += 1;
            return (known, false);
        }
        let entry = Entry {
            key,
            holders: 1,
            text: text.into(),
        };
        self.bytes += text.len();
        let number = match self.free.pop() {
            Some(number) => {
                self.entries[number as usize] = entry;
                number
            }
            None => {
                push_tight(&mut self.entries, entry);
                u32::try_from(self.entries.len() - 1).expect("fewer than 2³² strings")
            }
        };
        let (entries, hasher) = (&self.entries, &self.hasher);
        let hash = |number: &u32| {
            let entry = &entries[*number as usize];
            hasher.hash_one((entry.key, &*entry.text))
        };
        self.numbers.insert_unique(hash(&number), number, hash);
        (Text(number), true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_has_one_number_while_somebody_holds_it() {
        let mut texts = Texts::default();
        let first = texts.intern_pair("region", "eu");
        assert_eq!(texts.intern_pair("region", "eu"), first);
        let other = texts.intern_pair("zone", "eu");
        assert_ne!(first, other);
        assert_eq!(texts.find_pair("region", "eu"), Some(first));
        assert_eq!(texts.get(texts.key(first).unwrap()), "region");
        texts.release(first);
        assert_eq!(texts.find_pair("region", "eu"), Some(first));
        texts.release(first);
        assert_eq!(texts.find("region"), None);
        texts.release(other);
        assert_eq!(texts.footprint().0, 0);
        texts.intern("a");
        texts.intern("b");
        assert_eq!(texts.entries.len(), 4, "numbers are used again");
    }
}
