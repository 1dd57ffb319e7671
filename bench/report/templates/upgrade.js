// Every static picture becomes an interactive one. Where that fails, or scripts are blocked, the static one stays.
const specifications = JSON.parse(document.getElementById("specifications").textContent);
const options = { renderer: "svg", actions: false, tooltip: { theme: "report" } };
for (const picture of document.querySelectorAll("[data-figure]")) {
  const live = document.createElement("div");
  live.className = "live";
  picture.append(live);
  const specification = { ...specifications[picture.dataset.figure], width: "container" };
  if (picture.clientWidth < 600) {
    specification.config.legend.layout = { bottom: { direction: "vertical", anchor: "start", margin: 6 } };
    specification.config.legend.columns = 2;
  }
  try {
    await window.vegaEmbed(live, specification, options);
    picture.classList.add("upgraded");
  } catch (error) {
    live.remove();
    console.error(error);
  }
}
document.documentElement.dataset.upgraded = "yes";
