//! PEM, as `kubectl` users and `openssl` expect it in a Secret.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Encodes one block.
pub(super) fn encode(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

/// Decodes all blocks with this label; `None` if one is damaged.
pub(super) fn decode(label: &str, text: &str) -> Option<Vec<Vec<u8>>> {
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(&begin) {
        let body = &rest[at + begin.len()..];
        let stop = body.find(&end)?;
        let packed: String = body[..stop]
            .chars()
            .filter(|c| !c.is_whitespace())
            .collect();
        blocks.push(STANDARD.decode(packed).ok()?);
        rest = &body[stop + end.len()..];
    }
    Some(blocks)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn blocks_survive(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..4)) {
            let text: String = blocks.iter().map(|b| encode("CERTIFICATE", b)).collect();
            prop_assert_eq!(decode("CERTIFICATE", &text), Some(blocks));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,80}") {
            let _decoded = decode("CERTIFICATE", &format!("-----BEGIN CERTIFICATE-----{text}"));
        }
    }
}
