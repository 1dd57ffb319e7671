# One environment in .venv, made when first needed. Every target can be the first command on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
SETUP = $(PYTHON) scripts/setup_environment.py --environment "$(VENV)"
UNFINISHED := $(wildcard $(VENV)/.unfinished)

MODEL ?= L
CHECKPOINT ?=
BASE ?=
PRECISION ?= fp32
MODELS ?=
WEIGHTS ?=
GATE ?=
EVERY_PRECISION := fp32,fp16,bf16,int8
OUT ?= build
ARGS ?=
EXPORT_ARGS ?=
TORCH_INDEX ?=
FUZZ_CASES ?= 3000
FUZZ_SEED ?= 0

comma := ,
SOURCE = $(if $(CHECKPOINT),--checkpoint "$(CHECKPOINT)") $(if $(WEIGHTS),--weights "$(WEIGHTS)")
SIDE_BY_SIDE = $(foreach model,$(subst $(comma), ,$(MODELS)),"$(or $(OUT),build)/$(model)")
GIVEN = $(filter-out file,$(origin MODEL))

.PHONY: help setup setup-dev doctor export bench report all bundle gpu-report demo test test-arm fuzz lint docs demo-checkpoint bench-gate
.PHONY: bench-graph bench-selftest clean
.DEFAULT_GOAL := help

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24
	@echo '  variables: MODEL=L MODELS=S,M CHECKPOINT=path WEIGHTS=folder PRECISION=fp32 OUT=build GATE=gate.json'
	@echo '  ARGS="--set upsamplings=2" for the last command of a target, EXPORT_ARGS="--images DIR" for its export'

setup: $(READY) ## Make .venv with the tested versions; TORCH_INDEX=URL: with the PyTorch from there

setup-dev: $(READY_DEV) ## Make .venv with the tools of developers, too

doctor: $(READY) ## Say what this machine can build and run, and what it lacks
	@$(BIN)/convnextpose doctor --out "$(or $(OUT),build)" $(ARGS)

export: $(READY) ## Export MODEL, or each of MODELS=S,M: verdict, ONNX, parity, engine, latency table
	@$(BIN)/convnextpose export "$(or $(MODELS),$(MODEL))" $(SOURCE) \
		--precision "$(PRECISION)" --out "$(or $(OUT),build)" $(EXPORT_ARGS) $(ARGS)

demo: $(READY) ## Export the demo checkpoint and look at what it sees: OUT/demo/figure.png
	@$(BIN)/convnextpose export XS-atto --checkpoint demo/XS-atto-demo.pth --out "$(or $(OUT),build)/demo"
	@$(BIN)/convnextpose demo "$(or $(OUT),build)/demo/XS-atto" --out "$(or $(OUT),build)/demo/figure.png" $(ARGS)

bench: PRECISION := $(if $(filter file,$(origin PRECISION)),$(EVERY_PRECISION),$(PRECISION))
bench: $(READY) ## Export MODEL in every precision, then compare every runtime of this machine
	@$(BIN)/convnextpose export "$(MODEL)" $(SOURCE) \
		--precision "$(PRECISION)" --out "$(or $(OUT),build)" $(EXPORT_ARGS)
	@$(BIN)/convnextpose bench "$(or $(OUT),build)/$(notdir $(basename $(MODEL)))" $(ARGS)

report: $(READY) ## The page to decide from: of MODEL, of MODELS=S,M side by side, or of all in OUT, fleets too
	@$(BIN)/convnextpose report $(or $(SIDE_BY_SIDE),"$(or $(OUT),build)$(if $(GIVEN),/$(notdir $(basename $(MODEL))))") \
		$(if $(GATE),--gate "$(GATE)") $(ARGS)

all: $(READY) ## Export MODEL in every precision, compare every runtime, write the report
	@$(MAKE) --no-print-directory bench MODEL="$(MODEL)"
	@$(MAKE) --no-print-directory report MODEL="$(MODEL)" ARGS=

bundle: PRECISION := $(if $(filter file,$(origin PRECISION)),$(EVERY_PRECISION),$(PRECISION))
bundle: $(READY) ## Export MODEL in every precision, then write what goes to a device: OUT/MODEL/bundle
	@$(BIN)/convnextpose export "$(MODEL)" $(SOURCE) \
		--precision "$(PRECISION)" --out "$(or $(OUT),build)" $(EXPORT_ARGS)
	@$(BIN)/convnextpose bundle "$(or $(OUT),build)/$(notdir $(basename $(MODEL)))" $(ARGS)

gpu-report: PRECISION := $(if $(filter file,$(origin PRECISION)),$(EVERY_PRECISION),$(PRECISION))
gpu-report: $(READY) ## Run all that a GPU can do for this project; one file to send: OUT/MODEL/gpu-report.json
	@$(BIN)/python -m scripts.gpu_report "$(MODEL)" $(SOURCE) --precision "$(PRECISION)" --out "$(or $(OUT),build)" $(ARGS)

test: $(READY_DEV) ## Run the tests, in two processes
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-arm: $(READY) ## Verify the demo's bundle on an emulated ARM processor (some minutes): OUT/arm
	@$(BIN)/convnextpose export XS-atto --checkpoint demo/XS-atto-demo.pth --precision fp32,fp16,int8 \
		--out "$(or $(OUT),build)/arm"
	@$(BIN)/convnextpose bundle "$(or $(OUT),build)/arm/XS-atto"
	@$(BIN)/python -m scripts.arm_check "$(or $(OUT),build)/arm/XS-atto/bundle/XS-atto-bundle" \
		--cache "$(or $(OUT),build)/arm/cache" $(ARGS)

fuzz: $(READY_DEV) ## Read mutated checkpoints for some minutes: FUZZ_CASES of each form, FUZZ_SEED
	@FUZZ_CASES="$(FUZZ_CASES)" FUZZ_SEED="$(FUZZ_SEED)" $(BIN)/python -m pytest tests/fuzz $(ARGS)

lint: $(READY_DEV) ## Check style, spelling, types and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/codespell
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/mypy

docs: $(READY) ## Build the documentation as a site: build/site
	@$(SETUP) --extra docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --site-dir build/site
	@echo 'build/site/index.html'

demo-checkpoint: $(READY) ## Train the demo checkpoint on drawn figures (an hour or two)
	@$(BIN)/python -m scripts.train_demo --steps 2940 $(ARGS)

bench-gate: $(READY) ## Compare the exports in BASE and OUT/MODEL: exit 1 if the latter is slower
	@$(if $(BASE),,echo 'error: set BASE to the folder of the earlier export: make bench-gate MODEL=S BASE=old/S' >&2; exit 2)
	@$(BIN)/convnextpose compare "$(BASE)" "$(or $(OUT),build)/$(notdir $(basename $(MODEL)))" $(ARGS)

bench-graph: $(READY) ## Compare the deploy graph of MODEL with the graphs that it replaced, one thread
	@$(BIN)/convnextpose export "$(MODEL)" $(SOURCE) --precision fp32,bf16,int8 $(ARGS) --out "$(or $(OUT),build)"
	@$(BIN)/python -m scripts.graph_speed "$(or $(OUT),build)/$(notdir $(basename $(MODEL)))"

bench-selftest: $(READY_DEV) ## Check the timing harness here: known delays, the gate
	@$(BIN)/convnextpose export XS-atto --checkpoint demo/XS-atto-demo.pth --out "$(or $(OUT),build)/demo"
	@$(BIN)/python -m scripts.bench_selftest "$(or $(OUT),build)/demo/XS-atto"

clean: ## Remove .venv and build
	rm -rf $(VENV) build

$(READY): pyproject.toml constraints.txt $(UNFINISHED)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; name one with PYTHON=")'
	@$(SETUP) $(if $(TORCH_INDEX),--torch-index "$(TORCH_INDEX)")
	@touch $@

$(READY_DEV): $(READY)
	@$(SETUP) --extra dev
	@touch $@
