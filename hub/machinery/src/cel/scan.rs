//! A look at the characters before the parser, which recurses, gets them.

use super::{CompileError, MAX_NESTING, MAX_SOURCE};

/// An identifier and where it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) start: usize,
    pub(super) text: String,
    /// Preceded by a dot: a field or a method.
    pub(super) member: bool,
}

/// A source that is safe to parse.
#[derive(Debug)]
pub(super) struct Scan {
    /// The source with pairs of `!` and of unary `-` blanked out: the parser takes an even number of them for one.
    pub(super) source: String,
    words: Vec<Word>,
}

impl Scan {
    /// # Errors
    /// The source is too long, or nests too deeply.
    pub(super) fn of(source: &str) -> Result<Self, CompileError> {
        if source.len() > MAX_SOURCE {
            let message = format!("expression is longer than {MAX_SOURCE} bytes");
            return Err(CompileError::at(source, 0, message));
        }
        let mut scanner = Scanner {
            source,
            at: 0,
            words: Vec::new(),
            levels: vec![Level::default()],
            previous: Previous::Operator,
            signs: Vec::new(),
            blanks: Vec::new(),
        };
        while scanner.at < source.len() {
            scanner.token()?;
        }
        let mut bytes = source.as_bytes().to_vec();
        for at in scanner.blanks {
            bytes[at] = b' ';
        }
        let words = scanner.words;
        let source = String::from_utf8(bytes).expect("only ASCII was replaced, by ASCII");
        Ok(Self { source, words })
    }

    /// Where `name` is first used as what it is said to be.
    pub(super) fn position(&self, name: &str, member: bool) -> usize {
        let uses = || self.words.iter().filter(|word| word.text == name);
        uses()
            .find(|word| word.member == member)
            .or_else(|| uses().next())
            .map_or(0, |word| word.start)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Previous {
    /// Something that ends an operand.
    Operand,
    Dot,
    Operator,
}

/// An upper bound on how deep the operators directly in a bracket nest.
#[derive(Clone, Copy, Default)]
struct Level {
    /// Operators, selections and calls since the last that starts afresh.
    chain: usize,
    conditionals: usize,
}

struct Scanner<'a> {
    source: &'a str,
    at: usize,
    words: Vec<Word>,
    /// For each open bracket, what nests in it.
    levels: Vec<Level>,
    previous: Previous,
    /// The `!` or unary `-` directly before this place.
    signs: Vec<usize>,
    blanks: Vec<usize>,
}

impl Scanner<'_> {
    fn token(&mut self) -> Result<(), CompileError> {
        let rest = &self.source[self.at..];
        let first = rest.chars().next().expect("the end is not reached");
        if first.is_whitespace() {
            self.at += first.len_utf8();
            return Ok(());
        }
        if rest.starts_with("//") {
            self.at += rest.find('\n').unwrap_or(rest.len());
            return Ok(());
        }
        if let Some(length) = string(rest) {
            return self.operand(length);
        }
        if first.is_alphabetic() || first == '_' {
            return self.word(word(rest));
        }
        if first == '`' {
            let length = rest[1..].find('`').map_or(rest.len(), |end| end + 2);
            return self.operand(length);
        }
        if first.is_ascii_digit() {
            return self.operand(number(rest));
        }
        match first {
            '(' | '[' | '{' => {
                self.signs.clear();
                self.levels.push(Level::default());
                self.previous = Previous::Operator;
                self.check()?;
            }
            ')' | ']' | '}' => {
                if self.levels.len() > 1 {
                    self.levels.pop();
                }
                self.chain()?;
                self.previous = Previous::Operand;
            }
            ',' => {
                self.signs.clear();
                *self.top() = Level::default();
                self.previous = Previous::Operator;
            }
            // The parser balances these.
            '&' | '|' => {
                self.signs.clear();
                self.top().chain = 0;
                self.previous = Previous::Operator;
            }
            '?' if self.previous == Previous::Operand => {
                self.signs.clear();
                let top = self.top();
                top.chain = 0;
                top.conditionals += 1;
                self.previous = Previous::Operator;
                self.check()?;
            }
            '!' if !rest.starts_with("!=") => self.sign(b'!'),
            '-' if self.previous != Previous::Operand => self.sign(b'-'),
            '.' => {
                self.chain()?;
                self.previous = Previous::Dot;
            }
            _ => {
                self.chain()?;
                if self.previous != Previous::Dot {
                    self.previous = Previous::Operator;
                }
            }
        }
        self.at += first.len_utf8();
        Ok(())
    }

    /// Two equal signs directly after each other cancel out.
    fn sign(&mut self, sign: u8) {
        match self.signs.last() {
            Some(&before) if self.source.as_bytes()[before] == sign => {
                self.signs.pop();
                self.blanks.extend([before, self.at]);
            }
            _ => self.signs.push(self.at),
        }
        self.previous = Previous::Operator;
    }

    fn operand(&mut self, length: usize) -> Result<(), CompileError> {
        self.signs.clear();
        self.previous = Previous::Operand;
        self.at += length;
        Ok(())
    }

    fn word(&mut self, length: usize) -> Result<(), CompileError> {
        let text = &self.source[self.at..self.at + length];
        if text == "in" {
            self.at += length;
            self.signs.clear();
            self.previous = Previous::Operator;
            return self.chain();
        }
        self.words.push(Word {
            start: self.at,
            text: text.to_owned(),
            member: self.previous == Previous::Dot,
        });
        self.operand(length)
    }

    fn top(&mut self) -> &mut Level {
        self.levels
            .last_mut()
            .expect("the outermost is never closed")
    }

    fn chain(&mut self) -> Result<(), CompileError> {
        self.signs.clear();
        self.top().chain += 1;
        self.check()
    }

    fn check(&self) -> Result<(), CompileError> {
        let nested: usize = self
            .levels
            .iter()
            .map(|level| 1 + level.chain + level.conditionals)
            .sum();
        if nested > MAX_NESTING {
            let message = format!("expression nests deeper than {MAX_NESTING}");
            return Err(CompileError::at(self.source, self.at, message));
        }
        Ok(())
    }
}

/// The length of the string or bytes literal that `rest` starts with; one that does not end takes all.
fn string(rest: &str) -> Option<usize> {
    let prefix = rest
        .bytes()
        .take_while(|byte| matches!(byte, b'r' | b'R' | b'b' | b'B'))
        .count();
    if prefix > 2 {
        return None;
    }
    let raw = rest[..prefix].contains(['r', 'R']);
    let body = &rest[prefix..];
    let quote = ["\"\"\"", "'''", "\"", "'"]
        .into_iter()
        .find(|quote| body.starts_with(quote))?;
    let mut escaped = false;
    for (at, _) in body.char_indices().skip(quote.len()) {
        if escaped {
            escaped = false;
        } else if !raw && body[at..].starts_with('\\') {
            escaped = true;
        } else if body[at..].starts_with(quote) {
            return Some(prefix + at + quote.len());
        }
    }
    Some(rest.len())
}

fn word(rest: &str) -> usize {
    rest.find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(rest.len())
}

fn number(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let part = |at: usize| {
        let byte = bytes[at];
        let exponent = matches!(byte, b'+' | b'-') && matches!(bytes[at - 1], b'e' | b'E');
        let fraction = byte == b'.' && bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
        byte.is_ascii_alphanumeric() || exponent || fraction
    };
    (1..bytes.len())
        .find(|&at| !part(at))
        .unwrap_or(bytes.len())
}
