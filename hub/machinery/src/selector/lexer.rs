//! The tokens of a selector string.

/// A token with the text it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    In,
    NotIn,
    Not,
    Equals,
    NotEquals,
    Greater,
    Less,
    Open,
    Close,
    Comma,
    End,
    Unknown,
}

/// All tokens of a text, with [`Kind::End`] last.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let Some(first) = rest.chars().next() else {
            tokens.push(Token {
                kind: Kind::End,
                text: String::new(),
            });
            return tokens;
        };
        let (kind, length) = if is_special(first) {
            symbol(rest)
        } else {
            word(rest)
        };
        let (text, tail) = rest.split_at(length);
        tokens.push(Token {
            kind,
            text: text.to_owned(),
        });
        rest = tail;
    }
}

fn is_special(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn symbol(text: &str) -> (Kind, usize) {
    const SYMBOLS: [(&str, Kind); 9] = [
        ("==", Kind::Equals),
        ("!=", Kind::NotEquals),
        ("=", Kind::Equals),
        ("!", Kind::Not),
        ("(", Kind::Open),
        (")", Kind::Close),
        (",", Kind::Comma),
        (">", Kind::Greater),
        ("<", Kind::Less),
    ];
    let found = SYMBOLS.iter().find(|(symbol, _)| text.starts_with(symbol));
    found.map_or((Kind::Unknown, 1), |(symbol, kind)| (*kind, symbol.len()))
}

fn word(text: &str) -> (Kind, usize) {
    let end = text
        .find(|c: char| is_special(c) || matches!(c, ' ' | '\t' | '\r' | '\n'))
        .unwrap_or(text.len());
    let kind = match &text[..end] {
        "in" => Kind::In,
        "notin" => Kind::NotIn,
        _ => Kind::Word,
    };
    (kind, end)
}
