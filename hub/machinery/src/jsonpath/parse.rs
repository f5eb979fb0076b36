//! The grammar of a path.

use serde_json::Value;

use super::{Comparison, Filter, Operand, Step};

type Parsed<T> = Result<T, String>;

/// Unions within unions are legal to write and pointless to read.
const MOST_NESTING: usize = 8;

pub(super) fn path(text: &str) -> Parsed<Vec<Step>> {
    let mut text = text.trim();
    if let Some(inner) = text.strip_prefix('{') {
        text = inner.strip_suffix('}').ok_or("unclosed action")?.trim();
    }
    if text.is_empty() {
        return Err("the path is empty".to_owned());
    }
    if ["range", "end"].contains(&text.split_whitespace().next().unwrap_or_default()) {
        return Err("templates are not supported".to_owned());
    }
    let text = text.strip_prefix('$').unwrap_or(text);
    let mut parser = Parser {
        rest: text,
        depth: 0,
    };
    // `metadata.name`, without the first dot, is common enough to be understood.
    let mut steps = Vec::new();
    if !text.is_empty() && !text.starts_with(['.', '[']) {
        steps.push(parser.name()?);
    }
    steps.extend(parser.steps()?);
    if parser.rest.is_empty() {
        Ok(steps)
    } else {
        Err(format!("unexpected {:?}", parser.rest))
    }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl Parser<'_> {
    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest.strip_prefix(token);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn steps(&mut self) -> Parsed<Vec<Step>> {
        let mut steps = Vec::new();
        loop {
            if self.eat("..") {
                steps.push(Step::Descend);
                if !self.rest.starts_with('[') {
                    steps.push(self.name()?);
                }
            } else if self.eat(".") {
                // A lone dot is the root; `.[0]` is written too.
                if self.rest.is_empty() && steps.is_empty() || self.rest.starts_with('[') {
                    continue;
                }
                steps.push(self.name()?);
            } else if self.eat("[") {
                steps.push(self.brackets()?);
            } else {
                return Ok(steps);
            }
        }
    }

    /// A key up to the next dot or bracket; a backslash takes the next character as it is.
    fn name(&mut self) -> Parsed<Step> {
        if self.eat("*") {
            return Ok(Step::Every);
        }
        let mut name = String::new();
        let mut chars = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => name.push(chars.next().ok_or("the path ends in a backslash")?.1),
                '.' | '[' | ']' | '(' | ')' | '=' | '!' | '<' | '>' | '&' | '|' | '{' | '}'
                | ',' | '\'' | '"' => {
                    end = at;
                    break;
                }
                c if c.is_whitespace() => {
                    end = at;
                    break;
                }
                c => name.push(c),
            }
        }
        self.rest = &self.rest[end..];
        if name.is_empty() {
            Err(format!("a name is missing before {:?}", self.rest))
        } else {
            Ok(Step::Key(name))
        }
    }

    /// What stands in brackets, the opening one already read.
    fn brackets(&mut self) -> Parsed<Step> {
        self.depth += 1;
        if self.depth > MOST_NESTING {
            return Err("the path nests too deep".to_owned());
        }
        let mut parts = vec![self.part()?];
        loop {
            self.space();
            if self.eat("]") {
                break;
            }
            if !self.eat(",") {
                return Err(format!("expected ']' before {:?}", self.rest));
            }
            parts.push(self.part()?);
        }
        self.depth -= 1;
        match (parts.len(), parts.pop()) {
            (1, Some(part)) => Ok(part),
            (_, last) => Ok(Step::Union(parts.into_iter().chain(last).collect())),
        }
    }

    fn part(&mut self) -> Parsed<Step> {
        self.space();
        if self.eat("*") {
            return Ok(Step::Every);
        }
        if self.eat("?(") {
            let filter = self.filter()?;
            self.space();
            return if self.eat(")") {
                Ok(Step::Filter(filter))
            } else {
                Err("unterminated filter".to_owned())
            };
        }
        if self.rest.starts_with(['\'', '"']) {
            return self.quoted().map(Step::Key);
        }
        let start = self.number()?;
        if !self.eat(":") {
            return start
                .map(Step::Index)
                .ok_or_else(|| format!("invalid array index {:?}", self.rest));
        }
        let end = self.number()?;
        let step = if self.eat(":") {
            self.number()?.unwrap_or(1)
        } else {
            1
        };
        let step = usize::try_from(step)
            .ok()
            .filter(|step| *step > 0)
            .ok_or("step must be > 0")?;
        Ok(Step::Slice { start, end, step })
    }

    fn number(&mut self) -> Parsed<Option<i64>> {
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_digit() && c != '-')
            .unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        if digits.is_empty() {
            return Ok(None);
        }
        digits
            .parse()
            .map(Some)
            .map_err(|_| format!("invalid array index {digits}"))
    }

    fn quoted(&mut self) -> Parsed<String> {
        let mut chars = self.rest.char_indices();
        let quote = chars.next().map(|(_, quote)| quote);
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => text.push(chars.next().ok_or("unterminated quoted string")?.1),
                c if Some(c) == quote => {
                    self.rest = &self.rest[at + c.len_utf8()..];
                    return Ok(text);
                }
                c => text.push(c),
            }
        }
        Err("unterminated quoted string".to_owned())
    }

    fn filter(&mut self) -> Parsed<Filter> {
        let left = self.operand()?;
        self.space();
        let operators = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let found = operators
            .into_iter()
            .find(|(operator, _)| self.eat(operator));
        let comparison = match found {
            Some((_, comparison)) => Some((comparison, self.operand()?)),
            None => None,
        };
        Ok(Filter { left, comparison })
    }

    fn operand(&mut self) -> Parsed<Operand> {
        self.space();
        if self.eat("@") {
            return self.steps().map(Operand::Path);
        }
        if self.rest.starts_with(['\'', '"']) {
            return self
                .quoted()
                .map(|text| Operand::Literal(Value::String(text)));
        }
        let end = self
            .rest
            .find(|c: char| c.is_whitespace() || "()=!<>&|".contains(c))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match serde_json::from_str::<Value>(word) {
            Ok(value @ (Value::Number(_) | Value::Bool(_) | Value::Null)) => {
                Ok(Operand::Literal(value))
            }
            _ => Err(format!("unrecognized filter operand {word:?}")),
        }
    }
}
