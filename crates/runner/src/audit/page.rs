//! An audit as a page of Markdown, which reads as plain text too.

use super::{
    Audit,
    judge::{FamilyVerdict, Value},
    scores::{STANDARD, TRUE},
};
use paragone_data::shapes::Corruption;
use std::fmt::Write;

/// The page.
pub fn page(audit: &Audit) -> String {
    let mut page = String::new();
    let sizes: Vec<String> = audit.sizes.iter().map(u64::to_string).collect();
    let scenes = format!("{:?}", audit.scenes).to_lowercase();
    let _ = writeln!(
        page,
        "# Do scores rank as the truth does?\n\n\
         shapes at {0} × {0} pixels, scenes: {scenes}; {1} seeds; n = {2}; reference: the training images; \
         {3} subsets for KID.\n",
        audit.side,
        audit.seeds,
        sizes.join(", "),
        audit.settings.options.kernel_subsets,
    );
    let _ = writeln!(
        page,
        "Sets drawn from the true distribution are made worse, by four strengths each:\n"
    );
    for family in Corruption::ALL {
        let name = family.name().replace('_', " ");
        let _ = writeln!(page, "- *{name}*: {}", family.meaning());
    }
    let _ = writeln!(
        page,
        "\nStrength 0 is the truth itself. A score is right if it ranks the strengths in their order.\n"
    );
    for space in audit.settings.features.keys() {
        let _ = writeln!(page, "## Standard scores in the features of {space}\n\n{LEGEND}\n");
        page += &verdicts(audit, Some(space), &STANDARD.map(|score| score.name));
        let _ = writeln!(page);
    }
    let _ = writeln!(page, "## True scores\n");
    page += &verdicts(audit, None, &TRUE.map(|score| score.name));
    let _ = writeln!(page, "\n## What the scores say\n\nMeans over the seeds at the largest n.\n");
    for space in audit.settings.features.keys() {
        page += &means(audit, space);
        let _ = writeln!(page);
    }
    if !audit.models.is_empty() {
        let _ = writeln!(page, "## Trained models\n");
        page += &models(audit);
        if !audit.agreements.is_empty() {
            let _ = writeln!(
                page,
                "\nKendall's τ-b over the models between a standard score (rows) and a true one \
                 (columns), better with better:\n"
            );
            page += &agreements(audit);
        }
    }
    page
}

const LEGEND: &str = "A number: from that n on every seed's order is right. In brackets: it is not at the largest n, \
                      where Kendall's τ with the known order is on average that.";

fn verdicts(audit: &Audit, space: Option<&str>, scores: &[&str]) -> String {
    let mut table = Table::new(["score"].into_iter().chain(families()));
    for score in scores {
        let of_family = |family: &str| {
            let own = |verdict: &&FamilyVerdict| {
                verdict.score == *score
                    && verdict.family == family
                    && verdict.space.as_deref() == space
            };
            audit.verdicts.iter().find(own).map_or_else(missing, verdict)
        };
        table.row([(*score).to_owned()].into_iter().chain(families().map(of_family)));
    }
    table.print()
}

fn families() -> impl Iterator<Item = &'static str> {
    Corruption::ALL.into_iter().map(Corruption::name)
}

fn verdict(verdict: &FamilyVerdict) -> String {
    let last = verdict.ranks.last().and_then(|ranks| ranks.kendall);
    match (verdict.right_from, last) {
        (Some(n), _) => n.to_string(),
        (None, Some(tau)) => format!("({tau:.2})"),
        (None, None) => missing(),
    }
}

fn missing() -> String {
    "—".to_owned()
}

fn means(audit: &Audit, space: &str) -> String {
    let names = STANDARD.map(|score| score.name).into_iter().chain(TRUE.map(|score| score.name));
    let mut table = Table::new([space, "strength"].into_iter().chain(names));
    for row in &audit.means {
        let unit = Corruption::ALL.into_iter().find(|family| family.name() == row.family);
        let strength = match unit {
            Some(unit) if row.strength > 0.0 => format!("{} {}", row.strength, unit.unit()),
            _ => "none".to_owned(),
        };
        table.row([row.family.clone(), strength].into_iter().chain(values(&row.scores, space)));
    }
    table.print()
}

/// The standard scores of a feature space, and then the true ones.
fn values<'a>(scores: &'a [Value], space: &'a str) -> impl Iterator<Item = String> + 'a {
    let wanted = move |value: &&Value| value.space.as_deref().is_none_or(|other| other == space);
    scores.iter().filter(wanted).map(|value| number(value.value))
}

fn number(value: Option<f64>) -> String {
    match value {
        None => missing(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) if value.abs() >= 0.1 || value == 0.0 => format!("{value:.3}"),
        Some(value) => format!("{value:.4}"),
    }
}

fn models(audit: &Audit) -> String {
    let mut page = String::new();
    for space in audit.settings.features.keys() {
        let names =
            STANDARD.map(|score| score.name).into_iter().chain(TRUE.map(|score| score.name));
        let mut table = Table::new([space, "n"].into_iter().chain(names));
        for row in &audit.models {
            let head = [format!("{}, seed {}", row.name, row.seed), row.images.to_string()];
            table.row(head.into_iter().chain(values(&row.scores, space)));
        }
        page += &table.print();
        let _ = writeln!(page);
    }
    let _ = writeln!(
        page,
        "Valid at a tolerance, in levels (root of the mean squared difference); total variation of each attribute \
         among recognisable images, an exact sampler's mean in brackets; bits per dimension beside those of the data:\n"
    );
    let tolerances =
        audit.models[0].truth.validity.iter().map(|v| format!("valid at {}", v.tolerance));
    let attributes: Vec<String> =
        paragone_data::shapes::Aspect::MARGINALS.iter().map(|a| a.name().to_owned()).collect();
    let bits = ["bits/dim", "data"].map(str::to_owned);
    let heads = tolerances
        .chain(["held out", "recognisable"].map(str::to_owned))
        .chain(attributes.clone())
        .chain(bits);
    let heads: Vec<String> = ["model".to_owned()].into_iter().chain(heads).collect();
    let mut table = Table::new(heads.iter().map(String::as_str));
    for row in &audit.models {
        let valid = row.truth.validity.iter().map(|validity| number(Some(validity.share)));
        let attribute = |name: &String| match &row.truth.attributes {
            None => missing(),
            Some(all) => format!("{:.3} ({:.3})", all[name].value, all[name].ideal),
        };
        let bits = match &row.bits {
            None => [missing(), missing()],
            Some(bits) => {
                let kind = serde_json::to_value(bits.kind).unwrap_or_default();
                let kind = kind.as_str().unwrap_or("a figure").to_owned();
                [format!("{:.4} ({kind})", bits.model), format!("{:.4}", bits.truth.value)]
            }
        };
        let cells = [format!("{}, seed {}", row.name, row.seed)]
            .into_iter()
            .chain(valid)
            .chain([row.truth.held_out, row.truth.recognisable].map(|share| number(Some(share))))
            .chain(attributes.iter().map(attribute))
            .chain(bits);
        table.row(cells);
    }
    page += &table.print();
    page
}

fn agreements(audit: &Audit) -> String {
    let truths = TRUE.map(|score| score.name);
    let mut table = Table::new(["score", "features"].into_iter().chain(truths));
    for space in audit.settings.features.keys() {
        for score in STANDARD.map(|score| score.name) {
            let with = |truth: &str| {
                let own = audit.agreements.iter().find(|agreement| {
                    agreement.score == score
                        && agreement.space == *space
                        && agreement.truth == truth
                });
                own.and_then(|own| own.kendall).map_or_else(missing, |tau| format!("{tau:.2}"))
            };
            let head = [score.to_owned(), space.clone()];
            table.row(head.into_iter().chain(truths.into_iter().map(with)));
        }
    }
    table.print()
}

/// A Markdown table whose columns line up.
struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new<'a>(heads: impl IntoIterator<Item = &'a str>) -> Self {
        Self { rows: vec![heads.into_iter().map(|head| head.replace('_', " ")).collect()] }
    }

    fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| cell.replace('_', " ")).collect());
    }

    fn print(&self) -> String {
        let wide = |cell: &String| cell.chars().count();
        let widths: Vec<usize> = (0..self.rows[0].len())
            .map(|column| self.rows.iter().map(|row| wide(&row[column])).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for (i, row) in self.rows.iter().enumerate() {
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                let fill = " ".repeat(width - wide(cell));
                // Names to the left, figures to the right.
                let cell =
                    if column == 0 { format!("{cell}{fill}") } else { format!("{fill}{cell}") };
                let _ = write!(text, "| {cell} ");
            }
            text += "|\n";
            if i == 0 {
                for (column, &width) in widths.iter().enumerate() {
                    let dashes = "-".repeat(width + 1);
                    text +=
                        &if column == 0 { format!("|{dashes}-") } else { format!("|{dashes}:") };
                }
                text += "|\n";
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let mut table = Table::new(["score", "n"]);
        table.row(["a_b".to_owned(), "1000".to_owned()]);
        table.row(["Fréchet".to_owned(), number(None)]);
        assert_eq!(
            table.print(),
            "| score   |    n |\n|---------|-----:|\n| a b     | 1000 |\n| Fréchet |    — |\n"
        );
    }

    #[test]
    fn numbers_keep_three_figures_or_so() {
        let of = |value: f64| number(Some(value));
        assert_eq!(
            [of(123.4), of(12.34), of(0.5), of(0.0), of(0.01234), of(-0.02)],
            ["123", "12.3", "0.500", "0.000", "0.0123", "-0.0200"]
        );
    }
}
