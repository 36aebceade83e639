import { app, Menu, type MenuItemConstructorOptions, shell } from 'electron';

/** The window's menu: what every program of the platform has. */
export function setMenu(dir: string, isDev: boolean): void {
  const isMac = process.platform === 'darwin';
  const file: MenuItemConstructorOptions = {
    label: '&File',
    submenu: isMac ? [{ role: 'close' }] : [{ role: 'close' }, { type: 'separator' }, { role: 'quit' }],
  };
  const view: MenuItemConstructorOptions = {
    label: '&View',
    submenu: [
      { role: 'resetZoom' },
      { role: 'zoomIn' },
      { role: 'zoomOut' },
      { type: 'separator' },
      { role: 'togglefullscreen' },
      ...(isDev ? ([{ type: 'separator' }, { role: 'reload' }, { role: 'toggleDevTools' }] as const) : []),
    ],
  };
  const help: MenuItemConstructorOptions = {
    role: 'help',
    submenu: [
      { label: 'Show the data folder', click: () => void shell.openPath(dir) },
      ...(isMac ? [] : ([{ label: 'About Synod', click: () => app.showAboutPanel() }] as const)),
    ],
  };
  const first: MenuItemConstructorOptions[] = isMac ? [{ role: 'appMenu' }] : [];
  Menu.setApplicationMenu(Menu.buildFromTemplate([...first, file, { role: 'editMenu' }, view, help]));
}
