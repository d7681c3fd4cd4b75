//! Likelihood by every method.

use super::{
    context::Context,
    meanings::MEANINGS,
    table::{Look, render},
};
use crate::{
    BitsPerDim, ModelRow, SeedGroup,
    table::{Better, Cell, Column, Table, TableRow},
    tabulate::short,
};
use std::collections::BTreeSet;

/// Every likelihood by every method; `None` if there is none.
pub fn table(context: &Context<'_>) -> Option<String> {
    let names = ["model", "method", "bits/dim", "conditional", "test images", "passes"];
    let columns = names.map(|name| Column { name: name.to_owned(), better: Better::None }).to_vec();
    let mut rows = Vec::new();
    for group in &context.groups {
        let methods: BTreeSet<Option<Method>> =
            group.rows.iter().flat_map(|row| likelihoods(row)).map(method).collect();
        for method in methods {
            rows.push(TableRow { cells: by_method(group, method.as_ref()), ranked: true });
        }
    }
    let measured = |row: &ModelRow| likelihoods(row).any(|figure| method(figure).is_some());
    if !context.results.rows.iter().any(measured) {
        return None;
    }
    let table = Table { columns, rows };
    let look = Look {
        id: "likelihood",
        caption: "Bits per dimension by every method",
        meanings: &MEANINGS,
        ..Look::default()
    };
    Some(render(&table, &look))
}

/// What makes two likelihoods figures of one thing: headline first, kind, method, conditional, images, passes.
type Method = (bool, String, String, bool, i64, u64);

fn likelihoods(row: &ModelRow) -> impl Iterator<Item = (bool, &BitsPerDim)> {
    let further = row.further_bits_per_dim.iter().map(|figure| (true, figure));
    std::iter::once((false, &row.scores.bits_per_dim)).chain(further)
}

fn method((further, figure): (bool, &BitsPerDim)) -> Option<Method> {
    match figure {
        BitsPerDim::Measured { kind, method, conditional, images, passes, .. } => {
            Some((further, kind.clone(), method.clone(), *conditional, *images, *passes))
        }
        BitsPerDim::Missing { .. } => None,
    }
}

fn by_method(group: &SeedGroup<'_>, wanted: Option<&Method>) -> Vec<Cell> {
    let value = group.cell(|row| {
        let found = likelihoods(row).find(|figure| method(*figure).as_ref() == wanted);
        found.map_or_else(|| Cell::missing("not by this method"), |(_, figure)| figure.cell())
    });
    let name = Cell::Text(group.counted_title());
    let Some((_, _, method, conditional, images, passes)) = wanted else {
        let blank = || Cell::Text(String::new());
        return vec![name, blank(), value, blank(), blank(), blank()];
    };
    let conditional = if *conditional { "told the class" } else { "not told the class" };
    vec![
        name,
        Cell::Text(method.clone()),
        value,
        Cell::Text(conditional.to_owned()),
        Cell::Text(short(*images as f64)),
        Cell::Text(passes.to_string()),
    ]
}
