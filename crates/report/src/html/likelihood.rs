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
    let names = ["model", "method", "bits/dim", "conditional", "test images", "draws", "passes"];
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

/// What makes two likelihoods figures of one thing. In this order they are listed.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Method {
    /// Whether it is another than the headline's.
    further: bool,
    kind: String,
    name: String,
    conditional: bool,
    images: i64,
    draws: u64,
    passes: u64,
}

fn likelihoods(row: &ModelRow) -> impl Iterator<Item = (bool, &BitsPerDim)> {
    let further = row.further_bits_per_dim.iter().map(|figure| (true, figure));
    std::iter::once((false, &row.scores.bits_per_dim)).chain(further)
}

fn method((further, figure): (bool, &BitsPerDim)) -> Option<Method> {
    let BitsPerDim::Measured { kind, method, conditional, images, draws, passes, .. } = figure
    else {
        return None;
    };
    let (kind, name) = (kind.clone(), method.clone());
    let (conditional, images, draws, passes) = (*conditional, *images, *draws, *passes);
    Some(Method { further, kind, name, conditional, images, draws, passes })
}

fn by_method(group: &SeedGroup<'_>, wanted: Option<&Method>) -> Vec<Cell> {
    let value = group.cell(|row| {
        let found = likelihoods(row).find(|figure| method(*figure).as_ref() == wanted);
        found.map_or_else(|| Cell::missing("not by this method"), |(_, figure)| figure.cell())
    });
    let text = |of: fn(&Method) -> String| Cell::Text(wanted.map(of).unwrap_or_default());
    let told = |conditional| match conditional {
        true => "told the class or caption",
        false => "told nothing",
    };
    vec![
        Cell::Text(group.counted_title()),
        text(|method| method.name.clone()),
        value,
        Cell::Text(wanted.map(|method| told(method.conditional).to_owned()).unwrap_or_default()),
        text(|method| short(method.images as f64)),
        text(|method| method.draws.to_string()),
        text(|method| method.passes.to_string()),
    ]
}
