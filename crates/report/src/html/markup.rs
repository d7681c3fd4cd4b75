//! Text as HTML that is well-formed XML too.

use std::fmt::Write;

/// A text with everything escaped that means something in elements or attributes.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML has no other control characters, not even escaped.
            c if c.is_control() && !matches!(c, '\n' | '\t') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A paragraph.
pub fn paragraph(text: &str) -> String {
    format!("<p>{}</p>\n", escaped(text))
}

/// A list of texts; nothing if there are none.
pub fn list(texts: &[String]) -> String {
    if texts.is_empty() {
        return String::new();
    }
    let items = texts.iter().fold(String::new(), |mut items, text| {
        let _ = writeln!(items, "<li>{}</li>", escaped(text));
        items
    });
    format!("<ul>\n{items}</ul>\n")
}

/// Terms and what they mean; nothing if there are none.
pub fn definitions(terms: &[(&str, &str)]) -> String {
    if terms.is_empty() {
        return String::new();
    }
    let items = terms.iter().fold(String::new(), |mut items, (term, meaning)| {
        let (term, meaning) = (escaped(term), escaped(meaning));
        let _ = writeln!(items, "<div><dt>{term}</dt><dd>{meaning}</dd></div>");
        items
    });
    format!("<dl>\n{items}</dl>\n")
}

/// Something that is folded away until asked for.
pub fn details(summary: &str, body: &str) -> String {
    format!("<details><summary>{}</summary>\n{body}</details>\n", escaped(summary))
}

/// What is read aloud as one word: `Per class` as `per-class`.
pub fn identifier(text: &str) -> String {
    let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    text.chars().map(word).collect()
}

/// A count with commas: 10,000.
pub fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let comma = |(i, digit): (usize, char)| {
        let after = digits.len() - i;
        if i > 0 && after.is_multiple_of(3) { vec![',', digit] } else { vec![digit] }
    };
    digits.chars().enumerate().flat_map(comma).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let told = [7, 123, 1_000, 60_000, 1_234_567].map(thousands);
        assert_eq!(told, ["7", "123", "1,000", "60,000", "1,234,567"]);
    }

    #[test]
    fn nothing_gets_out_of_a_text() {
        let text = "<script>alert(\"1\" & '2')</script>\u{1b}";
        let want = "&lt;script&gt;alert(&quot;1&quot; &amp; &#39;2&#39;)&lt;/script&gt;\u{fffd}";
        assert_eq!(escaped(text), want);
        for markup in
            [paragraph(text), list(&[text.into()]), details(text, ""), definitions(&[(text, text)])]
        {
            assert!(
                roxmltree::Document::parse(&markup).is_ok() && !markup.contains("<script"),
                "{markup}"
            );
        }
    }
}
