//! The grammar, by recursive descent.

use serde_json::Value;

use super::{Comparison, Path, Test, TextTest};

type Parsed<T> = Result<T, String>;

/// Parentheses within parentheses.
const MOST_NESTING: usize = 16;

pub(super) fn path(text: &str) -> Parsed<Path> {
    let mut parser = Parser {
        rest: text.trim(),
        depth: 0,
    };
    let path = parser.pipe()?;
    parser.space();
    if parser.rest.is_empty() {
        Ok(path)
    } else {
        Err(format!("unexpected {:?}", parser.rest))
    }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl Parser<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.space();
        let Some(rest) = self.rest.strip_prefix(token) else {
            return false;
        };
        // A word ends where it ends: `android` is not `and`.
        if token.ends_with(|c: char| c.is_ascii_alphabetic()) && rest.starts_with(is_word) {
            return false;
        }
        self.rest = rest;
        true
    }

    fn expect(&mut self, token: &str) -> Parsed<()> {
        if self.eat(token) {
            Ok(())
        } else {
            Err(format!("expected {token:?} before {:?}", self.rest))
        }
    }

    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        if self.depth > MOST_NESTING {
            return Err("it is nested too deeply".to_owned());
        }
        let parsed = inner(self);
        self.depth -= 1;
        parsed
    }

    /// In jq `,` binds more tightly than `|`.
    fn pipe(&mut self) -> Parsed<Path> {
        let mut steps = vec![self.both()?];
        while self.eat("|") {
            steps.push(self.both()?);
        }
        Ok(one_or(steps, Path::Pipe))
    }

    fn both(&mut self) -> Parsed<Path> {
        let mut paths = vec![self.term()?];
        while self.eat(",") {
            paths.push(self.term()?);
        }
        Ok(one_or(paths, Path::Both))
    }

    fn term(&mut self) -> Parsed<Path> {
        let mut steps = Vec::new();
        if self.eat("select") {
            self.expect("(")?;
            let test = self.nested(Self::any)?;
            self.expect(")")?;
            steps.push(Path::Select(Box::new(test)));
        } else if self.eat("(") {
            steps.push(self.nested(Self::pipe)?);
            self.expect(")")?;
        } else if self.eat("..") {
            steps.push(Path::Descend);
        } else if self.eat(".") {
            if let Some(key) = self.key()? {
                steps.push(Path::Key(key));
            }
        } else {
            return Err(format!("only paths are understood, not {:?}", self.rest));
        }
        loop {
            // Nothing is an error here, so `?` changes nothing.
            if self.rest.starts_with('?') {
                self.rest = &self.rest[1..];
            } else if self.rest.starts_with('[') {
                self.rest = &self.rest[1..];
                steps.push(self.bracket()?);
            } else if self.rest.starts_with('.') && !self.rest.starts_with("..") {
                self.rest = &self.rest[1..];
                match self.key()? {
                    Some(key) => steps.push(Path::Key(key)),
                    None if self.rest.starts_with('[') => {}
                    None => return Err(format!("expected a key before {:?}", self.rest)),
                }
            } else {
                break;
            }
        }
        Ok(match steps.len() {
            0 => Path::Same,
            _ => one_or(steps, Path::Pipe),
        })
    }

    fn bracket(&mut self) -> Parsed<Path> {
        self.space();
        let step = if self.rest.starts_with(']') {
            Path::Every
        } else if self.rest.starts_with('"') {
            Path::Key(self.text()?)
        } else {
            let end = self.rest.find(']').ok_or("unclosed [")?;
            let (number, rest) = self.rest.split_at(end);
            let index = number
                .trim()
                .parse()
                .map_err(|_| format!("{:?} is no index", number.trim()))?;
            self.rest = rest;
            Path::Index(index)
        };
        self.expect("]")?;
        Ok(step)
    }

    fn key(&mut self) -> Parsed<Option<String>> {
        if self.rest.starts_with('"') {
            return self.text().map(Some);
        }
        let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
        let (key, rest) = self.rest.split_at(end);
        if key.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(format!("{key:?} is no key; quote it"));
        }
        self.rest = rest;
        Ok((!key.is_empty()).then(|| key.to_owned()))
    }

    /// A text in quotes, with JSON's escapes.
    fn text(&mut self) -> Parsed<String> {
        self.space();
        match self.literal()? {
            Value::String(text) => Ok(text),
            _ => Err("expected a text in quotes".to_owned()),
        }
    }

    fn literal(&mut self) -> Parsed<Value> {
        self.space();
        let text = self.rest;
        let wrong = || format!("expected a text, number, true, false or null before {text:?}");
        if text.starts_with('"') {
            let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
            let value = stream.next().and_then(Result::ok).ok_or_else(wrong)?;
            self.rest = &text[stream.byte_offset()..];
            return Ok(value);
        }
        // Whatever follows a word or number, such as `)`, is not JSON's business.
        let end = text
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')))
            .unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        let value = serde_json::from_str(word).map_err(|_| wrong())?;
        self.rest = rest;
        Ok(value)
    }

    fn any(&mut self) -> Parsed<Test> {
        let mut tests = vec![self.all()?];
        while self.eat("or") {
            tests.push(self.all()?);
        }
        Ok(one_or(tests, Test::Any))
    }

    fn all(&mut self) -> Parsed<Test> {
        let mut tests = vec![self.test()?];
        while self.eat("and") {
            tests.push(self.test()?);
        }
        Ok(one_or(tests, Test::All))
    }

    /// One condition, perhaps followed by `| not`.
    fn test(&mut self) -> Parsed<Test> {
        let before = self.rest;
        // A parenthesis may hold conditions as well as a path.
        if self.eat("(") {
            if let Ok(test) = self.nested(Self::any)
                && self.eat(")")
                && !self.rest.starts_with(['.', '['])
                && !matches!(test, Test::Holds(_))
            {
                return self.negated(test);
            }
            self.rest = before;
        }
        let test = if let Some(test) = self.function(Path::Same)? {
            test
        } else {
            self.comparison()?
        };
        self.negated(test)
    }

    fn negated(&mut self, test: Test) -> Parsed<Test> {
        let before = self.rest;
        if self.eat("|") {
            if self.eat("not") {
                return Ok(Test::Not(Box::new(test)));
            }
            self.rest = before;
        }
        Ok(test)
    }

    fn comparison(&mut self) -> Parsed<Test> {
        let mut steps = vec![self.term()?];
        loop {
            let before = self.rest;
            if !self.eat("|") {
                break;
            }
            if self.eat("not") {
                self.rest = before;
                break;
            }
            let so_far = one_or(steps.clone(), Path::Pipe);
            if let Some(test) = self.function(so_far)? {
                return Ok(test);
            }
            steps.push(self.term()?);
        }
        let path = one_or(steps, Path::Pipe);
        for (token, comparison) in [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ] {
            if self.eat(token) {
                return Ok(Test::Compare(path, comparison, self.literal()?));
            }
        }
        Ok(Test::Holds(path))
    }

    fn function(&mut self, path: Path) -> Parsed<Option<Test>> {
        for (name, test) in [
            ("startswith", TextTest::StartsWith),
            ("endswith", TextTest::EndsWith),
            ("contains", TextTest::Contains),
        ] {
            if self.eat(name) {
                return Ok(Some(Test::Text(path, test, self.argument()?)));
            }
        }
        if self.eat("has") {
            return Ok(Some(Test::Has(path, self.argument()?)));
        }
        Ok(None)
    }

    fn argument(&mut self) -> Parsed<String> {
        self.expect("(")?;
        let text = self.text()?;
        self.expect(")")?;
        Ok(text)
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn one_or<T>(mut all: Vec<T>, many: impl FnOnce(Vec<T>) -> T) -> T {
    match (all.len(), all.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            all.extend(last);
            many(all)
        }
    }
}
