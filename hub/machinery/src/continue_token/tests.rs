use proptest::prelude::*;

use super::ContinueToken;

#[test]
fn a_foreign_token_is_a_bad_request() {
    for text in [
        "",
        "%%%",
        "e30",
        "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwibnMiOiIiLCJuIjoiIn0",
    ] {
        let error = ContinueToken::decode(text).unwrap_err();
        assert_eq!(error.code, 400);
        assert!(
            error.message.starts_with("continue key is not valid"),
            "{}",
            error.message
        );
    }
}

proptest! {
    #[test]
    fn what_is_encoded_decodes(revision in 1_i64.., namespace in "[a-z]{0,9}", name in "[a-z.]{1,20}") {
        let token = ContinueToken { revision, namespace, name };
        prop_assert_eq!(ContinueToken::decode(&token.encode()).unwrap(), token);
    }

    #[test]
    fn any_text_decodes_or_is_refused(text in ".{0,60}") {
        let _ = ContinueToken::decode(&text);
    }
}
