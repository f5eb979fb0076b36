use proptest::prelude::*;

use super::*;

/// Expressions that would run for hours, or take all memory.
#[test]
fn what_runs_away_is_stopped() {
    let digits = "[0,1,2,3,4,5,6,7,8,9]";
    let nested = (0..9).fold("true".to_owned(), |inner, level| {
        format!("{digits}.all(x{level}, {inner})")
    });
    let doubled = (0..28).fold("['x']".to_owned(), |inner, level| {
        format!("{inner}.map(y{level}, y{level} + y{level})")
    });
    let shared = (0..28).fold("['x']".to_owned(), |inner, level| {
        format!("{inner}.map(y{level}, [y{level}, y{level}])")
    });
    let thousand = format!("'{}'", "x".repeat(1000));
    for source in [
        nested.as_str(),
        &format!("{doubled}.size() > 0"),
        &format!("{shared} == {shared}"),
        &format!("{shared}.flatten().size() > 0"),
        "lists.range(1000000000).size() > 0",
        "lists.range(9223372036854775807).size() > 0",
        "'%.999999999f'.format([1.0]) == ''",
        &format!("{thousand}.replace('', {thousand}).replace('', {thousand}) == ''"),
        &format!("lists.range(5000).map(i, {thousand}).join({thousand}).matches('(x+x+)+y')"),
        "lists.range(900).map(i, lists.range(900)).flatten().distinct().size() > 0",
        "lists.range(900).all(i, 'x'.matches('(a{50}){50}' + string(i)) || true)",
        // An empty pattern matches at every character, a short one may be large.
        &format!("lists.range(100000).all(i, {thousand}.findAll('').size() >= 0)"),
        &format!("lists.range(100000).all(i, {thousand}.findAll('x').size() >= 0)"),
        &format!("lists.range(1000).all(i, {thousand}.matches('[xy]*x[xy]{{1000}}z') || true)"),
    ] {
        let shown: String = source.chars().take(80).collect();
        assert_eq!(run(source), Err(EvaluationError::CostLimit), "{shown}");
    }
}

/// Errors of the limit are not absorbed as others are.
#[test]
fn the_limit_cannot_be_hidden_behind_a_decisive_side() {
    let expensive = "lists.range(100000).all(i, lists.range(100000).all(j, true))";
    for source in [
        format!("{expensive} || true"),
        format!("!({expensive} && false)"),
        format!("[1].exists(x, {expensive}) || true"),
    ] {
        assert_eq!(run(&source), Err(EvaluationError::CostLimit), "{source}");
    }
}

#[test]
fn what_nests_too_deeply_or_is_too_long_does_not_reach_the_parser() {
    let deep =
        |open: &str, close: &str, n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
    for source in [
        deep("(", ")", 10_000),
        deep("[", "]", 5_000),
        deep("{1:", "}", 3_000),
        format!("1{}", "+1".repeat(5_000)),
        format!("self{}", ".a".repeat(5_000)),
        format!("self{}", "[0]".repeat(4_000)),
        format!("1{}", "?1:1".repeat(3_000)),
        format!("'{}'", "x".repeat(MAX_SOURCE)),
        deep("size(", ")", 500),
    ] {
        let error = environment().compile(&source).unwrap_err();
        assert!(
            error.message.contains("deeper") || error.message.contains("longer"),
            "{error}"
        );
    }
    // Near the limits, on the small stack of a test's thread.
    for source in [
        deep("(", ")", MAX_NESTING / 2),
        format!("1{}", "+1".repeat(MAX_NESTING - 2)),
        format!("self.tags{}", ".map(x, x)".repeat(MAX_NESTING / 2 - 2)),
        format!("true{}", " && true".repeat(3 * MAX_NESTING)),
        format!("{}true", "!".repeat(2_000)),
    ] {
        let program = environment()
            .compile(&source)
            .unwrap_or_else(|error| panic!("{error}"));
        let bindings = [object(), Value::Null];
        assert!(
            program
                .evaluate(Bindings::of(&bindings), &mut Meter::new(COST_LIMIT))
                .is_ok(),
            "{source}"
        );
    }
}

#[test]
fn ordinary_expressions_are_cheap() {
    for (source, most) in [
        ("self.name == 'alpha'", 5),
        ("self.labels.exists(k, k == 'tier')", 20),
        (
            "semver(self.version.substring(1)).isGreaterThan(semver('1.28.0'))",
            20,
        ),
    ] {
        let program = environment().compile(source).unwrap();
        let mut meter = Meter::new(COST_LIMIT);
        program
            .evaluate(Bindings::of(&[object(), Value::Null]), &mut meter)
            .unwrap();
        assert!(meter.spent() <= most, "{source} costs {}", meter.spent());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever is typed: an error or a program, and a program that ends.
    #[test]
    fn nothing_that_is_typed_panics(source in "[a-z0-9 .,()\\[\\]{}?:!&|<>=+*/%'\"-]{0,40}") {
        if let Ok(program) = environment().compile(&source) {
            let mut meter = Meter::new(10_000);
            let _ = program.evaluate(Bindings::of(&[object(), Value::Null]), &mut meter);
            prop_assert!(meter.spent() <= 10_000);
        }
    }

    /// Every function on arguments that it does not expect.
    #[test]
    fn functions_do_not_panic_on_odd_arguments(
        name in prop::sample::select(vec![
            "substring", "charAt", "slice", "split", "indexOf", "lastIndexOf", "format", "replace", "join", "first",
            "last", "flatten", "sort", "min", "max", "sum", "quantity", "semver", "ip", "cidr", "url", "timestamp",
            "duration", "int", "uint", "double", "validate", "add", "sub", "compareTo", "getHours", "find", "findAll",
        ]),
        arguments in prop::collection::vec(prop::sample::select(vec![
            "-1", "0", "9223372036854775807", "'é'", "''", "'%'", "'%d%s'", "[]", "[1,'a']", "{}", "null", "1.5",
            "b'\\xff'", "quantity('1')", "'1e999999999'", "'99999999999999999999h'", "18446744073709551615u",
        ]), 1..4),
    ) {
        for source in [
            format!("{name}({})", arguments.join(",")),
            format!("{}.{name}({})", arguments[0].replace("-1", "(-1)"), arguments[1..].join(",")),
        ] {
            if let Ok(program) = environment().compile(&source) {
                let _ = program.evaluate(Bindings::of(&[object(), Value::Null]), &mut Meter::new(10_000));
            }
        }
    }
}
