// Before anything is shown: the theme that was chosen here, so that no page flashes in the other one.
try {
  const chosen = localStorage.getItem("lab-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch { /* a browser that keeps nothing follows its system */ }
