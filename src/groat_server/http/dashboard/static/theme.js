// Runs before anything is painted: where nobody has chosen, the theme is the system's.
(() => {
  const root = document.documentElement;
  if (root.dataset.theme === 'system') {
    root.classList.toggle('dark', matchMedia('(prefers-color-scheme: dark)').matches);
  }
})();
