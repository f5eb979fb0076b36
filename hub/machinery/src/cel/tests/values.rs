use super::*;

#[test]
fn expressions_have_the_values_that_the_specification_gives_them() {
    for (source, expected) in [
        ("self.name == 'alpha'", true),
        ("self.replicas + 1 == 4 && self.ratio * 2.0 == 3.0", true),
        ("self['replicas'] % 2 == 1", true),
        ("self.replicas == 3.0", true),
        ("self.tags.size() == 3 && size('é') == 1", true),
        (
            "'b' in self.tags && 'region' in self.labels && !('x' in self.labels)",
            true,
        ),
        ("has(self.name) && !has(self.missing)", true),
        ("self.nothing == null", true),
        ("self.tags.exists(t, t == 'b')", true),
        ("self.tags.all(t, t < 'd')", true),
        ("self.tags.exists_one(t, t == 'b')", true),
        ("self.tags.map(t, t + '!') == ['a!', 'b!', 'c!']", true),
        ("self.tags.map(t, t != 'b', t + '!') == ['a!', 'c!']", true),
        ("self.tags.filter(t, t != 'b') == ['a', 'c']", true),
        ("self.labels.map(k, k) == ['region', 'tier']", true),
        (
            "self.tags.map(a, self.tags.map(b, a + b)).size() == 3",
            true,
        ),
        (
            "self.tags.map(a, self.tags.filter(b, b > a).size()) == [2, 1, 0]",
            true,
        ),
        ("self.replicas > 2 ? self.ready : false", true),
        ("{'a': 1, 'b': [2]}.b[0] == 2", true),
        ("!!self.ready && !!!false", true),
        ("--3 == 3 && ---3 == -3 && 5 - -3 == 8 && 5 - 3 == 2", true),
        ("b'ab' + b'c' == b'abc'", true),
        ("r'\\d' == '\\\\d'", true),
        (
            "self.?name.orValue('none') == 'alpha' && self.?missing.orValue('none') == 'none'",
            true,
        ),
        ("self.?missing.deeper.orValue(7) == 7", true),
        (
            "self[?'name'].hasValue() && !self.tags[?9].hasValue()",
            true,
        ),
        (
            "[?self.?missing, 1] == [1] && {?'x': self.?missing} == {}",
            true,
        ),
        ("dyn(self.replicas) == 3", true),
        ("self.replicas in [1, 2, 3]", true),
        (
            "timestamp('2024-01-01T00:00:00Z') < timestamp('2024-01-02T00:00:00Z')",
            true,
        ),
        ("duration('90s') > duration('1m')", true),
        (
            "int('42') + 1 == 43 && string(7) == '7' && double('1.5') == 1.5",
            true,
        ),
    ] {
        assert_eq!(run(source), Ok(Value::Bool(expected)), "{source}");
    }
}

#[test]
fn the_libraries_of_kubernetes_are_there() {
    for source in [
        "quantity('1Gi').isGreaterThan(quantity('500Mi')) && quantity('1').compareTo(quantity('1000m')) == 0",
        "quantity('200M').add(quantity('300M')).isLessThan(quantity('1G')) && !isQuantity('one')",
        "quantity('5').isInteger() && quantity('5').asInteger() == 5",
        "semver('1.29.3').isGreaterThan(semver('1.28.0')) && semver('1.29.3').minor() == 29",
        "isSemver('1.0.0') && !isSemver('1.0')",
        "self.version.matches('^v1[.](2[89]|3[0-9])')",
        "self.version.find('[0-9]+') == '1' && self.version.findAll('[0-9]+') == ['1', '29', '3']",
        "self.version.findAll('[0-9]+', 2) == ['1', '29']",
        "[1, 2, 3].isSorted() && [1, 2, 3].sum() == 6 && [3, 1].min() == 1 && [3, 1].max() == 3",
        "['a', 'b'].indexOf('b') == 1 && 'abcb'.lastIndexOf('b') == 3",
        "'a,b'.split(',') == ['a', 'b'] && ['a', 'b'].join('-') == 'a-b'",
        "'AbC'.lowerAscii() == 'abc' && ' x '.trim() == 'x' && 'hello'.replace('l', 'L') == 'heLLo'",
        "'hello'.substring(1, 3) == 'el' && 'hello'.charAt(0) == 'h'",
        "'%s has %d'.format([self.name, self.replicas]) == 'alpha has 3'",
        "url('https://example.com:8443/p').getPort() == '8443' && !isURL('nonsense')",
        "ip('10.0.0.1').family() == 4 && cidr('10.0.0.0/8').containsIP('10.1.2.3') && !isIP('x')",
        "!format.dns1123Label().validate('ok').hasValue() && format.dns1123Label().validate('No!').hasValue()",
        "sets.contains([1, 2, 3], [1]) && sets.intersects([1], [1, 2]) && sets.equivalent([1], [1, 1])",
        "math.greatest(1, 5, 3) == 5 && math.abs(-2) == 2",
        "base64.decode('YWI=') == b'ab'",
        "[1, 2, 2].distinct() == [1, 2] && [3, 1].sort() == [1, 3] && lists.range(3) == [0, 1, 2]",
        "optional.of(1).value() == 1 && !optional.none().hasValue()",
        "self.version.startsWith('v1') && self.version.endsWith('.3') && self.version.contains('29')",
    ] {
        assert_eq!(run(source), Ok(Value::Bool(true)), "{source}");
    }
}

/// The side of `&&` and `||` that decides wins over one that errs, whichever comes first.
#[test]
fn errors_are_absorbed_by_a_decisive_side() {
    for source in [
        "self.missing == 1 || true",
        "true || self.missing == 1",
        "!(self.missing == 1 && false)",
        "!(false && self.missing == 1)",
        "[0, 1, 2].exists(x, 2 / x == 2)",
        "!['x', 1, 2].all(x, x > 1)",
    ] {
        assert_eq!(run(source), Ok(Value::Bool(true)), "{source}");
    }
    for source in ["self.missing == 1 || false", "[0].exists(x, 2 / x == 2)"] {
        assert!(
            matches!(run(source), Err(EvaluationError::Failed(_))),
            "{source}"
        );
    }
}

#[test]
fn json_goes_in_and_comes_out() {
    let document = serde_json::json!({"a": [1, -2, 2.5, "x", null, true], "b": {"c": {}}});
    assert_eq!(json(&value(&document)), Some(document));
    assert_eq!(value(&serde_json::json!(3)), Value::Int(3));
}

#[test]
fn a_method_of_the_host_is_answered_by_it() {
    struct Doubling;
    impl Host for Doubling {
        fn call(
            &self,
            method: &str,
            arguments: &[Value],
            meter: &mut Meter,
        ) -> Result<Value, EvaluationError> {
            meter.charge(5)?;
            match (method, arguments) {
                ("twice", [Value::Int(number)]) => Ok(Value::Int(2 * number)),
                _ => Err(EvaluationError::Failed("no such overload".to_owned())),
            }
        }
    }
    let program = Environment::new()
        .variable("x")
        .method("twice", 0)
        .compile("x.twice() == 8")
        .unwrap();
    let bindings = Bindings {
        variables: &[Value::Int(4)],
        host: Some(&Doubling),
    };
    let mut meter = Meter::new(100);
    assert_eq!(program.holds(bindings, &mut meter), Ok(true));
    assert!(meter.spent() >= 5);
}

/// Maps are kept in the order of hashes that differ from map to map; what is printed must not.
#[test]
fn what_is_printed_does_not_depend_on_the_order_of_hashes() {
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let fields = keys.map(|key| format!("'{key}': {{'{key}': [1, 1.0, true, null, 's']}}"));
    let literal = format!("{{{}}}", fields.join(", "));
    let each = keys.map(|key| format!("\"{key}\":{{\"{key}\":[1, 1.0, true, null, \"s\"]}}"));
    let printed = format!("{{{}}}", each.join(", "));
    for (argument, expected) in [
        (literal.clone(), printed.clone()),
        (format!("[1, {literal}]"), format!("[1, {printed}]")),
        (
            format!("optional.of({literal})"),
            format!("optional.of({printed})"),
        ),
    ] {
        for _ in 0..4 {
            let source = format!("'<%s>'.format([{argument}])");
            let expected = Value::String(std::sync::Arc::new(format!("<{expected}>")));
            assert_eq!(run(&source), Ok(expected));
        }
    }
    // Only %s takes a map.
    assert!(run(&format!("'%d'.format([{literal}])")).is_err());
    assert_eq!(
        run("'%s %s %d'.format([['x', 2], 'y', 3])"),
        Ok(Value::String(std::sync::Arc::new(
            "[\"x\", 2] y 3".to_owned()
        )))
    );
}
