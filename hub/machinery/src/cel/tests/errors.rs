use super::*;

fn refused(source: &str) -> CompileError {
    match environment().compile(source) {
        Err(error) => error,
        Ok(_) => panic!("{source} compiles"),
    }
}

#[test]
fn what_does_not_compile_says_where() {
    for (source, line, column, message) in [
        ("self.name ==", 1, 13, "Syntax error"),
        ("self.name\n  == )", 2, 6, "Syntax error"),
        (
            "self.name == unknown",
            1,
            14,
            "undeclared reference to 'unknown'",
        ),
        (
            "self.name.launch()",
            1,
            11,
            "undeclared reference to 'launch'",
        ),
        ("launch(self)", 1, 1, "undeclared reference to 'launch'"),
        (
            "self.unknown == unknown",
            1,
            17,
            "undeclared reference to 'unknown'",
        ),
        (
            "self.name.matches('(')",
            1,
            11,
            "invalid regular expression",
        ),
        (
            "Message{field: 1}",
            1,
            1,
            "undeclared reference to 'Message'",
        ),
        ("has(self)", 1, 5, "invalid argument to has() macro"),
        ("[1].all(x, y == 1)", 1, 12, "undeclared reference to 'y'"),
        (
            "[1].all(x, x == 1) && x",
            1,
            9,
            "undeclared reference to 'x'",
        ),
    ] {
        let error = refused(source);
        assert_eq!(
            (error.line, error.column),
            (line, column),
            "{source}: {error}"
        );
        assert!(error.message.contains(message), "{source}: {error}");
    }
    for source in [
        "",
        " ",
        "'open",
        "self.",
        "1 +",
        "a b",
        "\u{0}",
        "{1: }",
        "@",
        "self..name",
    ] {
        refused(source);
    }
}

#[test]
fn an_error_is_printed_with_the_line_it_is_in() {
    let error = refused("self.name == unknown");
    assert_eq!(
        error.to_string(),
        "ERROR: <input>:1:14: undeclared reference to 'unknown' (in container '')\n | self.name == unknown\n | .............^"
    );
}

#[test]
fn an_evaluation_without_a_value_says_why() {
    for (source, message) in [
        ("self.missing", "no such key: missing"),
        ("self.name.first == 'x'", "no such overload"),
        ("self.tags[7]", "index out of bounds: 7"),
        ("self.tags[-1]", "index out of bounds: -1"),
        ("1 / 0", "division by zero"),
        ("1 % 0", "modulus by zero"),
        ("9223372036854775807 + 1", "integer overflow"),
        ("-(-9223372036854775807 - 1)", "integer overflow"),
        ("1 + 'x'", "no such overload"),
        ("1 < 'x'", "no such overload"),
        ("!1", "no such overload"),
        ("{[1]: 2}", "unsupported key type"),
    ] {
        assert_eq!(
            run(source),
            Err(EvaluationError::Failed(message.to_owned())),
            "{source}"
        );
    }
    assert!(matches!(
        run("quantity('much')"),
        Err(EvaluationError::Failed(_))
    ));
}

#[test]
fn a_value_of_another_type_is_an_error_of_its_own() {
    let program = environment().compile("self.name").unwrap();
    let bindings = [object(), Value::Null];
    let error = program
        .holds(Bindings::of(&bindings), &mut Meter::new(100))
        .unwrap_err();
    assert_eq!(error.to_string(), "expected bool, got string");
    let text = program.text(Bindings::of(&bindings), &mut Meter::new(100));
    assert_eq!(text.as_deref().map(String::as_str), Ok("alpha"));
}
