//! What is compared: every technique at several strengths, and recipes of several stages.

/// Steps of the training that follows a cut.
const RECOVERY: &str = "\
[[stages]]
technique = \"distill\"
[stages.options.training]
steps = 200
batch_size = 8
seq_len = 128
learning_rate = 1e-3
warmup = 20
valid_every = 0
";

/// A row of a table.
pub(super) struct Method {
    /// The table that it belongs to.
    pub(super) family: &'static str,
    /// The recipe's name.
    pub(super) name: String,
    /// Its stages as TOML.
    pub(super) stages: String,
    /// Whether the small comparison has it too.
    pub(super) brief: bool,
}

impl Method {
    fn new(family: &'static str, name: String, stages: String, brief: bool) -> Self {
        Self { family, name, stages, brief }
    }

    /// The recipe file.
    pub(super) fn recipe(&self) -> String {
        format!("name = \"{}\"\n\n{}", self.name, self.stages)
    }
}

fn stage(technique: &str, options: &str) -> String {
    format!("[[stages]]\ntechnique = \"{technique}\"\noptions = {{ {options} }}\n\n")
}

/// All rows, table by table.
pub(super) fn all() -> Vec<Method> {
    let mut all = Vec::new();
    integers(&mut all);
    zeros(&mut all);
    low_rank(&mut all);
    smaller(&mut all);
    together(&mut all);
    all
}

fn integers(all: &mut Vec<Method>) {
    let family = "Fewer bits";
    for bits in [8, 4, 3, 2] {
        for technique in ["rtn", "gptq", "awq"] {
            let stages = stage(technique, &format!("bits = {bits}, group_size = \"auto\""));
            let brief = bits == 4 || bits == 3;
            all.push(Method::new(family, format!("{technique}-int{bits}"), stages, brief));
        }
    }
    for technique in ["int8-dynamic", "smoothquant"] {
        all.push(Method::new(family, technique.to_owned(), stage(technique, ""), true));
    }
}

fn zeros(all: &mut Vec<Method>) {
    let family = "Zeros";
    let techniques = ["magnitude", "wanda", "sparsegpt"];
    for percent in [10, 30, 50, 70] {
        for technique in techniques {
            let stages = stage(technique, &format!("sparsity = 0.{percent}"));
            all.push(Method::new(family, format!("{technique}-{percent}"), stages, percent == 50));
        }
    }
    for technique in techniques {
        let stages = stage(technique, "sparsity = \"2:4\"");
        all.push(Method::new(family, format!("{technique}-2-4"), stages, true));
    }
}

fn low_rank(all: &mut Vec<Method>) {
    for percent in [10, 20, 30] {
        for technique in ["svd", "asvd", "svdllm"] {
            let stages = stage(technique, &format!("rank = {{ keep = 0.{} }}", 100 - percent));
            all.push(Method::new("Low rank", format!("{technique}-{percent}"), stages, percent == 20));
        }
        let stages = stage("svdllm-budget", &format!("keep = 0.{}", 100 - percent));
        all.push(Method::new("Low rank", format!("svdllm-budget-{percent}"), stages, percent == 20));
    }
}

fn smaller(all: &mut Vec<Method>) {
    let cuts = [
        ("blocks-1", stage("prune-blocks", "count = 1"), true),
        ("blocks-2", stage("prune-blocks", "count = 2"), false),
        ("channels-20", stage("prune-channels", "ratio = 0.2"), true),
        ("channels-30", stage("prune-channels", "ratio = 0.3"), false),
    ];
    for (name, stages, brief) in cuts {
        let recovered = format!("{stages}{RECOVERY}");
        all.push(Method::new("Smaller shapes", name.to_owned(), stages, brief));
        all.push(Method::new("Smaller shapes", format!("{name}-distilled"), recovered, brief));
    }
}

fn together(all: &mut Vec<Method>) {
    let gptq = stage("gptq", "bits = 4, group_size = \"auto\"");
    for (name, stages) in [
        ("sparsegpt-2-4-gptq", stage("sparsegpt", "sparsity = \"2:4\"") + &gptq),
        ("svdllm-int8", stage("svdllm", "rank = { keep = 0.8 }") + &stage("rtn", "bits = 8")),
        ("blocks-1-distilled-gptq", stage("prune-blocks", "count = 1") + RECOVERY + "\n" + &gptq),
        (
            "rtn-int4-corrected",
            stage("rtn", "bits = 4, group_size = \"auto\"") + &stage("correct", "rank = 8"),
        ),
    ] {
        all.push(Method::new("Together", name.to_owned(), stages, true));
    }
}
