//! How good models are within each class.

use super::{context::Context, figure::Plotted, markup::details, table};
use crate::{
    ClassScore, ModelRow, Score,
    plot::{Axis, Item, Look, Plot},
    table::{Better, Cell, Column, Table, TableRow},
};

/// The distance within each class.
pub fn plot<'a>(context: &Context<'a>) -> Option<Plotted<'a>> {
    let classes = context.classes();
    let value = |row: &ModelRow, class: &str, score: fn(&ClassScore) -> &Score| {
        let found = row.per_class.iter().find(|score| score.class == class)?;
        score(found).value().filter(|value| *value > 0.0)
    };
    let (mut items, mut values) = (Vec::new(), Vec::new());
    for (index, class) in classes.iter().enumerate() {
        let y = -(index as f64);
        let mut floors = context.results.rows.iter();
        if let Some(floor) = floors.find_map(|row| value(row, class, |score| &score.floor)) {
            items.push(Item::Stroke { at: (floor, y), upright: true });
            values.push(floor);
        }
        for (model, group) in context.groups.iter().enumerate() {
            let of_class = |row: &&ModelRow| value(row, class, |score| &score.frechet_distance);
            let found: Vec<f64> = group.rows.iter().filter_map(of_class).collect();
            if !found.is_empty() {
                let mean = found.iter().sum::<f64>() / found.len() as f64;
                items.push(Item::Mark { model, at: (mean, y), look: Look::Plain });
                values.push(mean);
            }
        }
    }
    Some(Plotted {
        plot: Plot {
            title: "Fréchet distance within each class".to_owned(),
            x: Axis::log("Fréchet distance to the class's training images", values.into_iter())?,
            y: Axis::list("", &classes),
            rulers: Vec::new(),
            items,
            height: (0.2 + 0.08 * classes.len() as f64).max(0.6),
        },
        models: context.legend(),
        caption: "Further left is better; the stroke is what test images of the class score. With few images a class the \
                  distance is biased upwards, alike for all."
            .to_owned(),
    })
}

/// The distance within each class, folded away below its plot; `None` without classes.
pub fn table(context: &Context<'_>) -> Option<String> {
    let classes = context.classes();
    if classes.is_empty() {
        return None;
    }
    let column = |name: &str| Column { name: name.to_owned(), better: Better::None };
    let groups = &context.groups;
    let columns = ["class", "test images"].into_iter().map(column);
    let columns =
        columns.chain(groups.iter().map(|group| column(&group.counted_title()))).collect();
    let of = |class: &str, row: &ModelRow, score: fn(&ClassScore) -> &Score| {
        let found = row.per_class.iter().find(|of_class| of_class.class == class);
        found.map_or_else(|| Cell::missing("no scores by class"), |found| score(found).cell())
    };
    let rows = classes.iter().map(|class| {
        let floors = context.results.rows.iter().map(|row| of(class, row, |score| &score.floor));
        // Where none knows it, any says why.
        let floor = floors
            .reduce(|found, other| if matches!(found, Cell::Value { .. }) { found } else { other })
            .unwrap_or_else(|| Cell::missing("no scores by class"));
        let models = groups
            .iter()
            .map(|group| group.cell(|row| of(class, row, |score| &score.frechet_distance)));
        let cells = [Cell::Text(class.clone()), floor].into_iter().chain(models).collect();
        TableRow { cells, ranked: true }
    });
    let table = Table { columns, rows: rows.collect() };
    let look = table::Look {
        id: "classes",
        caption: "Fréchet distance within each class",
        ..table::Look::default()
    };
    Some(details("The numbers", &table::render(&table, &look)))
}
