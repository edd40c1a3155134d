// Files as base64, which is how JSON holds them.
export function decoded(text) {
  const bytes = Uint8Array.from(atob(text.replace(/\s/g, '')), (character) => character.charCodeAt(0));
  return new Blob([bytes]);
}

export function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(',') + 1));
    reader.onerror = () => reject(new Error('the file cannot be read'));
    reader.readAsDataURL(blob);
  });
}
