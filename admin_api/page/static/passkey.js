// Passkeys: the browser asks an authenticator; a hidden field sends the answer to the server.
"use strict";
(() => {
  async function ask(form) {
    const options = JSON.parse(form.dataset.options).publicKey;
    if (form.dataset.passkey === "create") {
      return navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) });
    }
    return navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
  }

  function ready(form) {
    const button = form.querySelector("[data-passkey-button]");
    const trouble = form.querySelector("[data-passkey-trouble]");
    button.addEventListener("click", async () => {
      if (!form.reportValidity()) return;
      trouble.hidden = true;
      button.disabled = true;
      try {
        form.elements.answer.value = JSON.stringify((await ask(form)).toJSON());
        form.submit();
      } catch {
        trouble.hidden = false;
        button.disabled = false;
      }
    });
  }

  document.addEventListener("DOMContentLoaded", () => {
    for (const form of document.querySelectorAll("form[data-passkey]")) ready(form);
  });
})();
